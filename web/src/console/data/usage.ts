/** What was used, by time. */

import { queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import type { Bucket } from "../parts/series";
import { CALM_MS } from "./lists";

export interface UsageResult {
  input_tokens?: number;
  output_tokens?: number;
  input_cached_tokens?: number;
  num_model_requests?: number;
  project_id: string | null;
  api_key_id: string | null;
  model: string | null;
}

export interface CostResult {
  amount: { value: number };
  project_id: string | null;
  api_key_id: string | null;
}

export type Grouping = "model" | "project_id" | "api_key_id";
export type Width = "1h" | "1d";
type Kind = "usage/completions" | "usage/embeddings" | "costs";

export const WIDTH_S: Record<Width, number> = { "1h": 3600, "1d": 86_400 };
/** Buckets that the server gives at once. */
const MOST: Record<Width, number> = { "1h": 168, "1d": 31 };

export interface Span {
  /** How long, until now. */
  seconds: number;
  width: Width;
  /** Empty: all that the one who asks may see. */
  project?: string;
  by?: Grouping;
}

interface UsagePage<Result> {
  data: Bucket<Result>[];
  next_page: string | null;
}

function usageOf<Result>(kind: Kind, { seconds, width, project, by }: Span) {
  return queryOptions({
    queryKey: ["console", kind, seconds, width, project, by],
    queryFn: async ({ signal }) => {
      const widthS = WIDTH_S[width];
      const now = Math.floor(Date.now() / 1000);
      const query = new URLSearchParams({
        // The bucket that is not over counts as one of them.
        start_time: String(Math.floor((now - seconds) / widthS + 1) * widthS),
        bucket_width: width,
        limit: String(MOST[width]),
      });
      if (project) query.set("project_ids", project);
      if (by) query.set("group_by", by);
      const found: Bucket<Result>[] = [];
      for (let page: string | null = ""; page !== null; ) {
        if (page) query.set("page", page);
        const part: UsagePage<Result> = await get(`v1/organization/${kind}?${query}`, signal);
        found.push(...part.data);
        page = part.next_page;
      }
      return found;
    },
    refetchInterval: CALM_MS,
  });
}

export function completionsQuery(span: Span) {
  return usageOf<UsageResult>("usage/completions", span);
}

export function embeddingsQuery(span: Span) {
  return usageOf<UsageResult>("usage/embeddings", span);
}

/** Costs are not told apart by model. */
export function costsQuery(span: Span) {
  return usageOf<CostResult>("costs", span);
}

/** Buckets of two kinds of usage as one. */
export function merged<Result>(one: Bucket<Result>[] = [], other: Bucket<Result>[] = []): Bucket<Result>[] {
  const found = new Map<number, Bucket<Result>>();
  for (const bucket of [...one, ...other]) {
    const before = found.get(bucket.start_time);
    found.set(bucket.start_time, before ? { ...before, results: [...before.results, ...bucket.results] } : bucket);
  }
  return [...found.values()].sort((a, b) => a.start_time - b.start_time);
}

export function sum<Result>(buckets: readonly Bucket<Result>[], amountOf: (result: Result) => number): number {
  return buckets.reduce((all, { results }) => all + results.reduce((some, each) => some + amountOf(each), 0), 0);
}
