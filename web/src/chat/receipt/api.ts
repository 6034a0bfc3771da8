/** Receipts of answers, and what the model was shown for one. */

import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { get, post, send } from "../../api/client";
import type { Status } from "../../api/types";

export interface ContextMessage {
  role: string;
  items: string[];
  beginning: string;
  state: "seen" | "cached" | "left_out";
  tokens: number | null;
  cached_tokens: number | null;
}

/** What is null nobody knows. */
export interface Context {
  id: string;
  status: Status;
  context_length: number | null;
  prompt_tokens: number | null;
  template_tokens: number | null;
  cached_tokens: number | null;
  answer_tokens: number | null;
  left_out: number;
  is_exact: boolean;
  messages: ContextMessage[];
}

export interface Weights {
  model: string;
  format: string;
  files: { path: string; bytes: number; sha256: string }[];
  base?: string;
  made_by?: string;
}

export interface Generation {
  deployment: string;
  weights: Weights | null;
  adapter: Weights | null;
  engine: { name: string; build: string; processor?: string; settings?: Record<string, unknown> } | null;
  prompt: { text: string; tokens: number; tokens_sha256: string } | null;
  drawing: { temperature: number; top_p: number; seed: number | null; seed_was_given: boolean };
  max_tokens: number | null;
  tokens: number | null;
  cached_tokens: number | null;
  computed_together: number | null;
  guessed_tokens: number | null;
  finish_reason: string | null;
}

export interface Source {
  number: number;
  file_id?: string;
  filename?: string;
  file_sha256?: string;
  url?: string;
  start?: number;
  end?: number;
  page?: number;
}

export interface Receipt {
  id: string;
  status: string;
  created_at: number;
  deployment: string;
  generations: Generation[];
  sources: Source[];
  answer: { characters: number; text_sha256: string };
  unknown: string[];
  altered: string[];
  sha256: string;
}

interface Around {
  before: string;
  after: string;
}

export interface Run {
  generation: number;
  identical: boolean | null;
  why: string | null;
  token: number | null;
  character: number | null;
  original: Around | null;
  again: Around | null;
  drawn_again: number | null;
}

export interface Rerun {
  deployment: string | null;
  identical: boolean | null;
  /** Whether rounding explains all that differs. */
  consistent: boolean | null;
  why: string | null;
  runs: Run[];
}

const of = (id: string) => `v1/x/responses/${id}`;

/** A receipt, and its text: numbers that JavaScript cannot hold, as a seed may be, are in that as they are. */
export function receiptQuery(id: string) {
  return queryOptions({
    queryKey: ["receipt", id],
    queryFn: async ({ signal }) => {
      const text = await (await send("GET", `${of(id)}/receipt`, { signal })).text();
      return { text, receipt: JSON.parse(text) as Receipt };
    },
  });
}

/** `status` is in the key, as what is told grows with it. */
export function contextQuery(id: string, status: Status | undefined) {
  return queryOptions({
    queryKey: ["context", id, status],
    queryFn: ({ signal }) => get<Context>(`${of(id)}/context`, signal),
    placeholderData: keepPreviousData,
    // While it waits or begins, nobody knows yet.
    refetchInterval: ({ state }) => (isOpen(status) && state.data?.context_length == null ? 700 : false),
  });
}

function isOpen(status: Status | undefined): boolean {
  return status === "queued" || status === "in_progress";
}

export function runAgain(id: string, model: string | undefined): Promise<Rerun> {
  return post(`${of(id)}/receipt/rerun`, model === undefined ? {} : { model });
}
