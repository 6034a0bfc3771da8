import { expect, test } from "vitest";
import { citationsOf, passagesOf } from "./cite";

const OIL = { file_id: "f1", filename: "light.md", text: "The lamp burned whale oil until 1902." };
const CAT = { file_id: "f1", filename: "light.md", text: "The cat was called Barnacle." };
const SEA = { file_id: "f2", filename: "sea.md", text: "The lamp and the cat looked at the sea." };
const FOUND = [OIL, CAT, SEA];

function cite(index: number | undefined, file = "f1", supported?: boolean) {
  const place = index === undefined ? {} : { index };
  return {
    type: "file_citation",
    file_id: file,
    filename: `${file}.md`,
    ...place,
    ...(supported !== undefined && { supported }),
  };
}

test("a mark leads to the passage that its sentence has most words of, within the file that is cited", () => {
  const text = "It burned whale oil. The cat was Barnacle.";
  const { marks, sources } = citationsOf(text, [cite(42), cite(19, "f1", false), cite(19, "f2")], FOUND);
  expect(sources.map(({ number, passage }) => [number, passage])).toEqual([
    [1, OIL.text],
    [2, SEA.text],
    [3, CAT.text],
  ]);
  expect(marks.map(({ offset, source, isDoubtful }) => [offset, source.number, isDoubtful])).toEqual([
    [19, 1, true],
    [19, 2, false],
    [42, 3, false],
  ]);
});

test("places are counted in code points, and what is no place is the end", () => {
  const text = "🙂🙂 Yes.";
  const offsets = (index: number | undefined) =>
    citationsOf(text, [cite(index)], FOUND).marks.map((mark) => mark.offset);
  expect(offsets(2)).toEqual([4]);
  for (const index of [7, 8, 1e9, -1, Number.NaN, undefined]) expect(offsets(index)).toEqual([text.length]);
});

test("the same passage at the same place is one mark, and in doubt only if every citation of it is", () => {
  const marks = (...supported: boolean[]) =>
    citationsOf(
      "Oil.",
      supported.map((each) => cite(4, "f1", each)),
      FOUND,
    ).marks.map((mark) => mark.isDoubtful);
  expect(marks(false, true)).toEqual([false]);
  expect(marks(false, false)).toEqual([true]);
});

test("a file of which no passage is known is a source all the same; other kinds of annotations are none", () => {
  const { marks, sources } = citationsOf("Oil.", [cite(1, "f9"), { type: "url_citation" }], []);
  expect(marks).toHaveLength(1);
  expect(sources).toEqual([{ number: 1, filename: "f9.md", passage: "" }]);
});

test("passages are those of all searches", () => {
  const search = { type: "file_search_call", queries: ["a"] };
  const output = [
    { ...search, results: [OIL] },
    { type: "message" },
    { ...search, results: null },
    { ...search, results: [SEA] },
  ];
  expect(passagesOf(output)).toEqual([OIL, SEA]);
});
