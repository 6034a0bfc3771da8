/** An answer as its stream tells of it. Pure: times are told from outside, in milliseconds. */

import type { LogProb } from "../api/types";
import type { Word, Words } from "../chat/words";
import type { Call } from "./state";

export interface Usage {
  prompt_tokens: number;
  completion_tokens?: number;
  total_tokens: number;
  prompt_tokens_details?: { cached_tokens?: number };
}

export interface Answer {
  text: string;
  reasoning: string;
  calls: Call[];
  /** Of a chat. */
  logprobs: LogProb[];
  /** Of a completion: one item a token in each list; offsets in characters, not in UTF-16 units. */
  completionLogprobs: CompletionLogprobs;
  finish: string | null;
  usage: Usage | null;
  error: string | null;
  isStopped: boolean;
  startedMs: number;
  /** When the first of the answer came. */
  firstMs: number | null;
  endedMs: number | null;
}

export interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

interface ToolCallDelta {
  index: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

interface Chunk<Choice> {
  choices?: Choice[];
  usage?: Usage | null;
  error?: { message: string };
}

export type ChatChunk = Chunk<{
  delta: { content?: string | null; refusal?: string | null; reasoning_content?: string; tool_calls?: ToolCallDelta[] };
  logprobs?: { content?: LogProb[] | null } | null;
  finish_reason?: string | null;
}>;

export type CompletionChunk = Chunk<{
  text: string;
  logprobs?: CompletionLogprobs | null;
  finish_reason?: string | null;
}>;

export function begin(nowMs: number): Answer {
  return {
    text: "",
    reasoning: "",
    calls: [],
    logprobs: [],
    completionLogprobs: { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] },
    finish: null,
    usage: null,
    error: null,
    isStopped: false,
    startedMs: nowMs,
    firstMs: null,
    endedMs: null,
  };
}

export function takeChat(answer: Answer, chunk: ChatChunk, nowMs: number): Answer {
  const choice = chunk.choices?.[0];
  const next = common(answer, chunk, choice?.finish_reason);
  if (choice === undefined) return next;
  const { content, refusal, reasoning_content: reasoning, tool_calls: calls = [] } = choice.delta;
  if (content || refusal || reasoning || calls.length > 0) next.firstMs ??= nowMs;
  next.text += content ?? refusal ?? "";
  next.reasoning += reasoning ?? "";
  if (calls.length > 0) next.calls = calls.reduce(addCall, next.calls);
  const logprobs = choice.logprobs?.content ?? [];
  if (logprobs.length > 0) next.logprobs = [...next.logprobs, ...logprobs];
  return next;
}

export function takeCompletion(answer: Answer, chunk: CompletionChunk, nowMs: number): Answer {
  const choice = chunk.choices?.[0];
  const next = common(answer, chunk, choice?.finish_reason);
  if (choice === undefined) return next;
  if (choice.text !== "") next.firstMs ??= nowMs;
  next.text += choice.text;
  if (choice.logprobs) {
    const { completionLogprobs: had } = next;
    next.completionLogprobs = {
      tokens: [...had.tokens, ...choice.logprobs.tokens],
      token_logprobs: [...had.token_logprobs, ...choice.logprobs.token_logprobs],
      top_logprobs: [...had.top_logprobs, ...choice.logprobs.top_logprobs],
      text_offset: [...had.text_offset, ...choice.logprobs.text_offset],
    };
  }
  return next;
}

function common(answer: Answer, { usage, error }: Chunk<unknown>, finish: string | null | undefined): Answer {
  return {
    ...answer,
    finish: finish ?? answer.finish,
    usage: usage ?? answer.usage,
    error: error?.message ?? answer.error,
  };
}

/** Only the first piece of a call has its id and its name. */
function addCall(calls: Call[], { index, id, function: piece }: ToolCallDelta): Call[] {
  const had = calls[index] ?? { id: "", name: "", arguments: "" };
  const next = [...calls];
  next[index] = {
    id: had.id || (id ?? ""),
    name: had.name + (piece?.name ?? ""),
    arguments: had.arguments + (piece?.arguments ?? ""),
  };
  return next;
}

/** Less than this between the first and the last token, and they have come together: that says nothing of their making. */
const MIN_SPAN_MS = 50;

/** Tokens a second once the answer had begun; null if that cannot be told. */
export function tokensPerSecond({ usage, firstMs, endedMs }: Answer): number | null {
  const num = usage?.completion_tokens ?? 0;
  if (firstMs === null || endedMs === null || endedMs - firstMs < MIN_SPAN_MS || num < 2) return null;
  return ((num - 1) * 1000) / (endedMs - firstMs);
}

/** What each piece of the reply to a completion stands for, and what the text would be with another in its place. */
export function completionWords({ text, completionLogprobs }: Answer): Words {
  const { tokens, token_logprobs, top_logprobs, text_offset } = completionLogprobs;
  const characters = [...text];
  const part = (start: number, end?: number) => characters.slice(start, end).join("");
  const head = part(0, text_offset[0] ?? 0);
  let before = head;
  const words = tokens.map((token, index): Word => {
    const shown = part(text_offset[index] ?? 0, text_offset[index + 1]);
    const top = Object.entries(top_logprobs[index] ?? {}).sort(([, one], [, other]) => other - one);
    const alternatives = top.map(([alternative, logprob]) => ({
      text: alternative,
      probability: Math.exp(logprob),
      isChosen: alternative === token,
      // A piece of a character cannot be written.
      prefix: alternative === "" || alternative.includes("\ufffd") ? null : before + alternative,
    }));
    before += shown;
    return { text: shown, probability: Math.exp(token_logprobs[index] ?? 0), alternatives };
  });
  return { head, words };
}
