import { expect, test } from "vitest";
import { merged, type UsageResult } from "../data/usage";
import type { Bucket } from "../parts/series";
import { rowsOf, totalsOf } from "./totals";

function used(model: string, input: number, output?: number): UsageResult {
  const tokens = { input_tokens: input, num_model_requests: 1, ...(output !== undefined && { output_tokens: output }) };
  return { ...tokens, model, project_id: null, api_key_id: null };
}

function bucket(start: number, ...results: UsageResult[]): Bucket<UsageResult> {
  return { start_time: start, end_time: start + 60, results };
}

test("buckets of two kinds of usage become one, by time", () => {
  const both = merged([bucket(60, used("a", 1))], [bucket(0), bucket(60, used("b", 2))]);
  expect(both.map(({ start_time, results }) => [start_time, results.length])).toEqual([
    [0, 0],
    [60, 2],
  ]);
});

test("a row for each name in each bucket, and totals by name, the busiest first", () => {
  const buckets = [bucket(0, used("a", 1, 2), used("a", 3)), bucket(60, used("b", 90, 1), used("a", 5, 5))];
  const rows = rowsOf(buckets, ({ model }) => model ?? "");
  expect(rows.map(({ start, name, requests, input, output }) => [start, name, requests, input, output])).toEqual([
    [0, "a", 2, 4, 2],
    [60, "b", 1, 90, 1],
    [60, "a", 1, 5, 5],
  ]);
  expect(totalsOf(rows).map(({ name, requests, input, start, end }) => [name, requests, input, start, end])).toEqual([
    ["b", 1, 90, 60, 120],
    ["a", 3, 9, 0, 120],
  ]);
});
