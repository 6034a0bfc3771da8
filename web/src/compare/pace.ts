/**
 * How fast an answer is made. The server says in whole seconds when it began and ended; a page that has asked for it
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
  /** From the question to the end, or to now; null if nobody has kept when the end was. */
  seconds: number | null;
  /** Tokens a second since the first; null if that cannot be said. */
  speed: number | null;
  /** Whether the times are the page's own. */
  isExact: boolean;
}

export class Stopwatch {
  readonly #heard = new Map<string, Heard>();
  readonly #ended = new Set<string>();

  /** An answer was asked for at a time. Of others nobody here knows how long they took. */
  start(id: string, nowMs: number): void {
    this.#heard.set(id, { askedMs: nowMs, lastMs: nowMs, numFirst: 0 });
  }

  /** Note how far an answer is at a time. */
  note(turn: Turn, nowMs: number): void {
    const heard = this.#heard.get(turn.id);
    if (heard === undefined) return;
    if (heard.firstMs === undefined && numTokens(turn) > 0) {
      heard.firstMs = nowMs;
      heard.numFirst = numTokens(turn);
    }
    if (isActive(turn.status) || !this.#ended.has(turn.id)) heard.lastMs = nowMs;
    if (!isActive(turn.status)) this.#ended.add(turn.id);
  }

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

function roughly({ status, created_at, completed_at }: Turn, numTokens: number): Pace | null {
  if (isActive(status)) return null;
  const seconds = completed_at ? completed_at - created_at : null;
  return { numTokens, seconds, speed: seconds ? numTokens / seconds : null, isExact: false };
}

/** The tokens of an answer that is being made, as far as their probabilities came along. */
function numTokens({ output }: Turn): number {
  const parts = output.filter((item) => item.type === "message").flatMap(partsOf);
  return parts.reduce((sum, part) => sum + (part.logprobs?.length ?? 0), 0);
}

/** Of this page. It goes on when what shows it is scrolled out of sight. */
export const stopwatch = new Stopwatch();
