/** What an answer's annotations point at: which passage, and where in the text. Pure. */

import type { Annotation, Item, Passage } from "../../api/types";

export interface Source {
  number: number;
  filename: string;
  /** Empty where it is not told: to those who read a shared chat. */
  passage: string;
}

export interface Mark {
  /** Where in the text, as JavaScript counts. */
  offset: number;
  source: Source;
  /** Whether the server found that the passage does not say what the sentence does. */
  isDoubtful: boolean;
}

/** What the searches of an answer found, best first. */
export function passagesOf(output: readonly Item[]): Passage[] {
  return output.flatMap((item) => (item.type === "file_search_call" ? (item.results ?? []) : []));
}

/** The marks of a text in their order, and what they point at, numbered in the order of the first mark. */
export function citationsOf(
  text: string,
  annotations: readonly Annotation[],
  passages: readonly Passage[],
): { marks: Mark[]; sources: Source[] } {
  const sources = new Map<string, Source>();
  const marks: Mark[] = [];
  const cited = annotations
    .filter((each) => each.type === "file_citation")
    .map((each) => ({ ...each, offset: offsetOf(text, each.index) }))
    .sort((one, other) => one.offset - other.offset);
  for (const { file_id = "", filename = "", offset, supported } of cited) {
    const passage = likeliest(sentenceAt(text, offset), file_id, passages);
    const key = JSON.stringify([file_id, passage]);
    const source = sources.get(key) ?? { number: sources.size + 1, filename, passage };
    sources.set(key, source);
    const isDoubtful = supported === false;
    const same = marks.find((mark) => mark.offset === offset && mark.source === source);
    if (same === undefined) marks.push({ offset, source, isDoubtful });
    else same.isDoubtful &&= isDoubtful;
  }
  return { marks, sources: [...sources.values()] };
}

/** Annotations count code points. What is no place in the text is its end. */
function offsetOf(text: string, index: number | undefined): number {
  if (index === undefined || !(index >= 0)) return text.length;
  let offset = 0;
  let points = 0;
  for (const character of text) {
    if (points >= index) break;
    offset += character.length;
    points++;
  }
  return offset;
}

const LONGEST_SENTENCE = 600;
const SENTENCE_ENDS = /[.!?…]\s+|\n|[。！？]/;

/** The sentence that a mark stands in or behind. */
function sentenceAt(text: string, offset: number): string {
  const before = text.slice(Math.max(0, offset - LONGEST_SENTENCE), offset).trimEnd();
  return before.split(SENTENCE_ENDS).findLast((each) => each.trim() !== "") ?? "";
}

/** An annotation names a file and not which of its passages: it is the one with the most of the sentence's words. */
function likeliest(sentence: string, file: string, passages: readonly Passage[]): string {
  const words = wordsOf(sentence);
  let best = "";
  let most = -1;
  for (const { file_id, text } of passages) {
    if (file_id !== file) continue;
    const found = wordsOf(text);
    const shared = [...words].filter((word) => found.has(word)).length;
    if (shared > most) [best, most] = [text, shared];
  }
  return best;
}

function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu));
}
