import { expect, test } from "vitest";
import type { Turn } from "../api/types";
import { turn } from "../chat/testing";
import { Stopwatch } from "./pace";

const token = { token: "x", logprob: -1, bytes: null, top_logprobs: [] };

function grown(count: number, rest: Partial<Turn> = {}): Turn {
  const content = [{ type: "output_text", text: "x".repeat(count), logprobs: Array(count).fill(token) }];
  return turn("a", null, { status: "in_progress", output: count ? [{ type: "message", content }] : [], ...rest });
}

const usage = { input_tokens: 5, output_tokens: 21 };
const done = (count: number) => grown(count, { status: "completed", usage, created_at: 10, completed_at: 14 });

test("a page that has asked for an answer knows its speed, from the first token on", () => {
  const watch = new Stopwatch();
  watch.start("a", 1000);
  watch.note(grown(0), 1200);
  watch.note(grown(1), 3000);
  watch.note(grown(11), 4000);
  expect(watch.pace(grown(11))).toEqual({ numTokens: 11, seconds: 3, speed: 10, isExact: true });
  watch.note(done(21), 5000);
  watch.note(done(21), 9000); // rendered again, later
  expect(watch.pace(done(21))).toEqual({ numTokens: 21, seconds: 4, speed: 10, isExact: true });
});

test("who comes in the middle has the server's seconds, once it is over", () => {
  const watch = new Stopwatch();
  watch.note(grown(0), 900);
  watch.note(grown(5), 1000);
  watch.note(grown(9), 2000);
  expect(watch.pace(grown(9))).toBeNull();
  watch.note(done(21), 3000);
  expect(watch.pace(done(21))).toEqual({ numTokens: 21, seconds: 4, speed: 5.25, isExact: false });
});

test("of one that was broken off nobody has kept how long it took", () => {
  const cut = turn("c", null, { status: "incomplete", usage, created_at: 10 });
  expect(new Stopwatch().pace(cut)).toEqual({ numTokens: 21, seconds: null, speed: null, isExact: false });
});

test("an answer within a second has no speed that could be said", () => {
  const short = turn("b", null, { status: "completed", usage, created_at: 10, completed_at: 10 });
  expect(new Stopwatch().pace(short)).toEqual({ numTokens: 21, seconds: 0, speed: null, isExact: false });
});
