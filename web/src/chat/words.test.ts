import { expect, test } from "vitest";
import type { LogProb } from "../api/types";
import { surprise, wordsOf } from "./words";

function token(text: string | number[], ...others: (string | number[])[]): LogProb {
  const one = (piece: string | number[]) => {
    const bytes = typeof piece === "string" ? [...new TextEncoder().encode(piece)] : piece;
    return { token: new TextDecoder().decode(new Uint8Array(bytes)), logprob: Math.log(0.5), bytes };
  };
  return { ...one(text), top_logprobs: others.map(one) };
}

test("an alternative stands behind what came before it", () => {
  const { words } = wordsOf({
    type: "output_text",
    text: "A big cat",
    logprobs: [token("A"), token(" big"), token(" cat", " dog", " cat")],
  });
  expect(words[2]?.alternatives).toMatchObject([
    { text: " dog", isChosen: false, prefix: "A big dog", probability: 0.5 },
    { text: " cat", isChosen: true, prefix: "A big cat" },
  ]);
});

test("a token that was not among the likely ones is shown all the same", () => {
  const { words } = wordsOf({ type: "output_text", text: "odd", logprobs: [token("odd", "even")] });
  expect(words[0]?.alternatives.map((each) => each.isChosen)).toEqual([false, true]);
});

test("text that was given has no probabilities", () => {
  expect(wordsOf({ type: "output_text", text: "Given text", logprobs: [token(" text")] })).toMatchObject({
    head: "Given",
    words: [{ text: " text", alternatives: [{ prefix: "Given text" }] }],
  });
});

test("characters of several tokens appear with the last one, and cannot be cut", () => {
  const [first = 0, ...rest] = new TextEncoder().encode("é");
  const { words } = wordsOf({
    type: "output_text",
    text: "caféx",
    logprobs: [token("caf"), token([first], [first], "e"), token([...rest, 120], rest)],
  });
  expect(words.map((word) => word.text)).toEqual(["caf", "", "éx"]);
  expect(words[1]?.alternatives.map((each) => each.prefix)).toEqual([null, "cafe"]);
  expect(words[2]?.alternatives.map((each) => each.prefix)).toEqual(["café", "caféx"]);
});

test("surprise grows as probability falls", () => {
  expect([1, 0.9, 0.7, 0.3, 0.2, 0].map(surprise)).toEqual([0, 0, 1, 2, 3, 4]);
});
