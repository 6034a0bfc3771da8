/** From the events of a response to the turn that they tell of. Pure; events of unknown types change nothing. */

import type { Item, Outcome, Part, ResponseEvent, Status, Turn } from "../api/types";

export interface Progress {
  readonly turn: Turn;
  /** The number of the last event that is in it. */
  readonly seen: number;
}

export function isActive(status: Status | undefined): boolean {
  return status === "queued" || status === "in_progress";
}

/** The turn before its first event. */
export function unheard(turn: Turn): Progress {
  return { turn: { ...turn, output: [] }, seen: -1 };
}

/** After a reconnection some events may come twice: the second time they say nothing. */
export function reduce(progress: Progress, event: ResponseEvent): Progress {
  if (event.sequence_number <= progress.seen) return progress;
  return { turn: advance(progress.turn, event), seen: event.sequence_number };
}

/** The turn as its response stands at the end. */
export function settle(
  turn: Turn,
  { status, model, output, usage, error, incomplete_details, ...rest }: Outcome,
): Turn {
  return { ...turn, status, model, output, usage, error, incomplete_details, completed_at: rest.completed_at ?? null };
}

function advance(turn: Turn, event: ResponseEvent): Turn {
  switch (event.type) {
    case "response.created":
    case "response.queued":
    case "response.in_progress":
      return { ...turn, status: event.response.status };
    case "response.completed":
    case "response.incomplete":
    case "response.failed":
    case "response.cancelled":
      return settle(turn, event.response);
    case "response.output_item.added":
    case "response.output_item.done":
      return { ...turn, output: put(turn.output, event.output_index, event.item) };
    case "response.content_part.added":
    case "response.content_part.done":
      return inParts(turn, event.output_index, "content", (parts) => put(parts, event.content_index, event.part));
    case "response.reasoning_summary_part.added":
    case "response.reasoning_summary_part.done":
      return inParts(turn, event.output_index, "summary", (parts) => put(parts, event.summary_index, event.part));
    case "response.output_text.delta":
      return inParts(turn, event.output_index, "content", (parts) =>
        change(parts, event.content_index, (part) => ({
          ...part,
          text: (part.text ?? "") + event.delta,
          logprobs: [...(part.logprobs ?? []), ...(event.logprobs ?? [])],
        })),
      );
    case "response.output_text.annotation.added":
      return inParts(turn, event.output_index, "content", (parts) =>
        change(parts, event.content_index, (part) => ({
          ...part,
          annotations: put(part.annotations ?? [], event.annotation_index, event.annotation),
        })),
      );
    case "response.reasoning_text.delta":
      return inParts(turn, event.output_index, "content", (parts) =>
        change(parts, event.content_index, (part) => ({ ...part, text: (part.text ?? "") + event.delta })),
      );
    case "response.reasoning_summary_text.delta":
      return inParts(turn, event.output_index, "summary", (parts) =>
        change(parts, event.summary_index, (part) => ({ ...part, text: (part.text ?? "") + event.delta })),
      );
    case "response.refusal.delta":
      return inParts(turn, event.output_index, "content", (parts) =>
        change(parts, event.content_index, (part) => ({ ...part, refusal: (part.refusal ?? "") + event.delta })),
      );
    case "error":
      return { ...turn, status: "failed", error: { code: event.code, message: event.message } };
    default:
      return turn;
  }
}

function inParts(turn: Turn, index: number, where: "content" | "summary", edit: (parts: Part[]) => Part[]): Turn {
  const withParts = (item: Item): Item => {
    const parts = item[where] ?? [];
    return typeof parts === "string" ? item : { ...item, [where]: edit(parts) };
  };
  return { ...turn, output: change(turn.output, index, withParts) };
}

/** A copy with `value` at `index`, be it a new last place or one that is there. */
function put<T>(list: readonly T[], index: number, value: T): T[] {
  return index < list.length ? list.with(index, value) : [...list, value];
}

function change<T>(list: T[], index: number, edit: (value: T) => T): T[] {
  const value = list[index];
  return value === undefined ? list : list.with(index, edit(value));
}
