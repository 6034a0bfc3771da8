/** Usage as rows: one for each name in each bucket, or one for each name. Pure. */

import type { UsageResult } from "../data/usage";
import type { Bucket } from "../parts/series";

export interface Row {
  start: number;
  end: number;
  name: string;
  requests: number;
  input: number;
  cached: number;
  output: number;
}

export function rowsOf(buckets: readonly Bucket<UsageResult>[], nameOf: (result: UsageResult) => string): Row[] {
  return buckets.flatMap(({ start_time, end_time, results }) =>
    together(
      results.map((result) => ({
        start: start_time,
        end: end_time,
        name: nameOf(result),
        requests: result.num_model_requests ?? 0,
        input: result.input_tokens ?? 0,
        cached: result.input_cached_tokens ?? 0,
        output: result.output_tokens ?? 0,
      })),
    ),
  );
}

/** One row for each name, the busiest first. */
export function totalsOf(rows: readonly Row[]): Row[] {
  return together(rows).sort((one, other) => other.input + other.output - one.input - one.output);
}

function together(rows: readonly Row[]): Row[] {
  const found = new Map<string, Row>();
  for (const row of rows) {
    const before = found.get(row.name);
    found.set(row.name, before ? added(before, row) : row);
  }
  return [...found.values()];
}

function added(one: Row, other: Row): Row {
  return {
    start: Math.min(one.start, other.start),
    end: Math.max(one.end, other.end),
    name: one.name,
    requests: one.requests + other.requests,
    input: one.input + other.input,
    cached: one.cached + other.cached,
    output: one.output + other.output,
  };
}
