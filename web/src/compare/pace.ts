/**
 * How fast an answer is made. The server says in whole seconds when it began and ended; a page that has seen all of it
 * knows better.
 */

import type { Turn } from "../api/types";
import { partsOf } from "../chat/items";
import { isActive } from "../chat/reduce";

interface Heard {
  askedMs: number;
  /** When the first words were there; undefined before that. */
  firstMs?: number;
  lastMs: number;
  /** Tokens up to the first time that there were any: they were not waited for. */
  numFirst: number;
}

export interface Pace {
  numTokens: number;
  /** From the question to the end, or to now. */
  seconds: number;
  /** Tokens a second since the first; null if that cannot be said. */
  speed: number | null;
  /** Whether the times are the page's own. */
  isExact: boolean;
}

export class Stopwatch {
  readonly #heard = new Map<string, Heard>();

  /** Note how far an answer is at a time. */
  note(turn: Turn, nowMs: number): void {
    const heard = this.#heard.get(turn.id);
    if (heard === undefined) {
      // Who comes when there are words already has not seen how long they took.
      if (isActive(turn.status) && numTokens(turn) === 0)
        this.#heard.set(turn.id, { askedMs: nowMs, lastMs: nowMs, numFirst: 0 });
      return;
    }
    if (heard.firstMs === undefined && numTokens(turn) > 0) {
      heard.firstMs = nowMs;
      heard.numFirst = numTokens(turn);
    }
    if (isActive(turn.status) || !this.#ended.has(turn.id)) heard.lastMs = nowMs;
    if (!isActive(turn.status)) this.#ended.add(turn.id);
  }

  readonly #ended = new Set<string>();

  /** What is known of an answer's speed; null if nothing is. */
  pace(turn: Turn): Pace | null {
    const count = isActive(turn.status) ? numTokens(turn) : (turn.usage?.output_tokens ?? numTokens(turn));
    const heard = this.#heard.get(turn.id);
    if (heard === undefined) return roughly(turn, count);
    const { askedMs, firstMs, lastMs, numFirst } = heard;
    const spentMs = firstMs === undefined ? 0 : lastMs - firstMs;
    const speed = spentMs > 0 && count > numFirst ? ((count - numFirst) * 1000) / spentMs : null;
    return { numTokens: count, seconds: (lastMs - askedMs) / 1000, speed, isExact: true };
  }
}

function roughly({ status, created_at, completed_at }: Turn, count: number): Pace | null {
  if (isActive(status) || !completed_at) return null;
  const seconds = completed_at - created_at;
  return { numTokens: count, seconds, speed: seconds > 0 ? count / seconds : null, isExact: false };
}

/** The tokens of an answer that is being made, as far as their probabilities came along. */
function numTokens({ output }: Turn): number {
  const parts = output.filter((item) => item.type === "message").flatMap(partsOf);
  return parts.reduce((sum, part) => sum + (part.logprobs?.length ?? 0), 0);
}
