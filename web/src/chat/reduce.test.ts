import { expect, test } from "vitest";
import type { ResponseEvent, Turn } from "../api/types";
import { answerText, thoughtText } from "./items";
import { type Progress, reduce, unheard } from "./reduce";
import { eventsOf, turn } from "./testing";

const ASKED = turn("resp_1", null, { input: [{ type: "message", role: "user", content: "Hi" }] });
const EVENTS = eventsOf(ASKED);

function told(events: ResponseEvent[], from: Turn = ASKED): Progress {
  return events.reduce(reduce, unheard(from));
}

test("an answer grows with its deltas, with the probability of each word", () => {
  const texts = EVENTS.map((_, index) => answerText(told(EVENTS.slice(0, index + 1)).turn));
  expect(texts).toEqual(["", "", "", "", "Hel", "Hello", "Hello", "Hello"]);
  const [item] = told(EVENTS.slice(0, 6)).turn.output;
  expect(item?.content).toMatchObject([{ text: "Hello", logprobs: [{ token: "Hel" }, { token: "lo" }] }]);
});

test("what is growing is, before its last event, what the end says", () => {
  expect(told(EVENTS.slice(0, -1)).turn.output).toEqual(told(EVENTS).turn.output);
  expect(told(EVENTS).turn).toMatchObject({ status: "completed", input: ASKED.input });
});

test("events that come twice count once", () => {
  const twice = EVENTS.flatMap((event, index) => [event, ...EVENTS.slice(0, index)]);
  expect(told(twice)).toEqual(told(EVENTS));
});

test("nothing that was there is changed in place", () => {
  const frozen = (value: unknown): unknown =>
    typeof value === "object" && value !== null ? Object.freeze(Object.values(value).map(frozen) && value) : value;
  for (const event of EVENTS) frozen(event);
  expect(() => told(EVENTS, Object.freeze(ASKED))).not.toThrow();
});

test("events of unknown types, or of items that nobody has told of, change nothing", () => {
  const strange = [
    { type: "response.hologram.delta", sequence_number: 10, delta: "?" },
    { type: "response.output_text.delta", sequence_number: 11, output_index: 7, content_index: 0, delta: "?" },
    { type: "response.output_text.delta", sequence_number: 12, output_index: 0, content_index: 7, delta: "?" },
  ] as ResponseEvent[];
  expect(told([...EVENTS, ...strange]).turn).toEqual(told(EVENTS).turn);
});

test("thoughts, refusals and errors are heard", () => {
  const at = { output_index: 0, content_index: 0, summary_index: 0 };
  const events = [
    { type: "response.output_item.added", output_index: 0, item: { type: "reasoning", summary: [] } },
    { type: "response.reasoning_summary_part.added", ...at, part: { type: "summary_text", text: "" } },
    { type: "response.reasoning_summary_text.delta", ...at, delta: "Hm" },
    { type: "response.output_item.added", output_index: 1, item: { type: "message", content: [] } },
    { type: "response.content_part.added", ...at, output_index: 1, part: { type: "refusal", refusal: "" } },
    { type: "response.refusal.delta", ...at, output_index: 1, delta: "No." },
    { type: "error", code: "server_error", message: "It broke." },
  ].map((event, sequence_number) => ({ ...event, sequence_number }) as ResponseEvent);
  const { turn: end } = told(events);
  expect(end.output.map(thoughtText)[0]).toBe("Hm");
  expect(end.output[1]?.content).toEqual([{ type: "refusal", refusal: "No." }]);
  expect(end).toMatchObject({ status: "failed", error: { message: "It broke." } });
});

test("a search and what is cited of it are heard", () => {
  const at = { output_index: 1, content_index: 0 };
  const call = { type: "file_search_call", id: "fs_1", status: "in_progress", queries: ["oil"], results: null };
  const results = [{ file_id: "f1", filename: "light.md", text: "Whale oil." }];
  const cited = (index: number) => ({ type: "file_citation", file_id: "f1", filename: "light.md", index });
  const events = [
    { type: "response.output_item.added", output_index: 0, item: call },
    { type: "response.file_search_call.searching", output_index: 0, item_id: "fs_1" },
    { type: "response.output_item.done", output_index: 0, item: { ...call, status: "completed", results } },
    { type: "response.output_item.added", output_index: 1, item: { type: "message", content: [] } },
    { type: "response.content_part.added", ...at, part: { type: "output_text", text: "", annotations: [] } },
    { type: "response.output_text.delta", ...at, delta: "Oil." },
    { type: "response.output_text.annotation.added", ...at, annotation_index: 0, annotation: cited(3) },
    { type: "response.output_text.delta", ...at, delta: " Yes." },
    { type: "response.output_text.annotation.added", ...at, annotation_index: 1, annotation: cited(9) },
  ].map((event, sequence_number) => ({ ...event, sequence_number }) as ResponseEvent);
  const { output } = told(events).turn;
  expect(output[0]).toMatchObject({ status: "completed", results });
  expect(output[1]?.content).toEqual([
    { type: "output_text", text: "Oil. Yes.", logprobs: [], annotations: [cited(3), cited(9)] },
  ]);
});
