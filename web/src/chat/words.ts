/** The tokens of an answer with how likely they were, and what the answer would begin with if another had come. */

import type { LogProb, Part } from "../api/types";

type Token = Omit<LogProb, "top_logprobs">;

export interface Alternative {
  text: string;
  probability: number;
  isChosen: boolean;
  /** The text up to here with this token at its end; null where that would end within a character. */
  prefix: string | null;
}

export interface Word {
  text: string;
  probability: number;
  /** The likeliest first, the token itself among them, or else at the end. */
  alternatives: Alternative[];
}

export interface Words {
  /** What stands before the first token that has a probability: an answer may go on from text that was given. */
  head: string;
  words: Word[];
}

export function wordsOf({ text = "", logprobs = [] }: Part): Words {
  const all = decode(logprobs.flatMap(bytesOf));
  const head = text.endsWith(all) ? text.slice(0, text.length - all.length) : "";
  let before = head;
  // The beginning of a character whose last byte a later token has: it is shown with that one.
  let pending: number[] = [];
  const words = logprobs.map((token): Word => {
    const chosen = bytesOf(token).join();
    const isChosen = (each: Token) => bytesOf(each).join() === chosen;
    const candidates = token.top_logprobs.some(isChosen) ? token.top_logprobs : [...token.top_logprobs, token];
    const alternatives = candidates.map((each): Alternative => {
      const bytes = [...pending, ...bytesOf(each)];
      const isWhole = bytes.length > 0 && unfinished(bytes).length === 0;
      return {
        text: each.token,
        probability: Math.exp(each.logprob),
        isChosen: isChosen(each),
        prefix: isWhole ? before + decode(bytes) : null,
      };
    });
    const bytes = [...pending, ...bytesOf(token)];
    pending = unfinished(bytes);
    const shown = decode(bytes.slice(0, bytes.length - pending.length));
    before += shown;
    return { text: shown, probability: Math.exp(token.logprob), alternatives };
  });
  return { head, words };
}

/** From 0, as good as certain, to 4, a wild guess: how a token is coloured. */
export function surprise(probability: number): number {
  const steps = [0.9, 0.6, 0.3, 0.1].findIndex((limit) => probability >= limit);
  return steps === -1 ? 4 : steps;
}

function bytesOf({ token, bytes }: Token): number[] {
  return bytes ?? [...new TextEncoder().encode(token)];
}

function decode(bytes: number[]): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(new Uint8Array(bytes));
}

/** The bytes at the end that are the beginning of a character in UTF-8. */
function unfinished(bytes: number[]): number[] {
  const start = bytes.findLastIndex((byte) => (byte & 0b1100_0000) !== 0b1000_0000);
  const lead = bytes[start] ?? 0;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return start >= 0 && bytes.length - start < length ? bytes.slice(start) : [];
}
