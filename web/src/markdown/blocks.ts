/**
 * Cuts Markdown into pieces that mean the same one by one as they do together, so that of an answer that grows only the
 * last piece is rendered again.
 */

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const LIST_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;
const INDENTED = /^(?: {2}|\t)/;
/** Definitions of links and footnotes count for the whole text, wherever they stand. */
const DEFINITION = /^ {0,3}\[[^\]]+\]:/m;
const MATH_OPENS = /^\s*(?:\$\$|\\\[)/;

/** Beyond these, in characters, containers within containers, and marks of emphasis, parsing takes seconds. */
const MAX_LENGTH = 20_000;
const TOO_DEEP = /^ {0,3}(?:>[ \t]?|[-*+][ \t]+|\d{1,9}[.)][ \t]+){30}/m;
const MAX_MARKS = 1_500;

export function splitBlocks(text: string): string[] {
  if (text.length <= MAX_LENGTH && DEFINITION.test(text)) return [text];
  const cutter = new Cutter();
  for (const line of text.split("\n")) cutter.add(line);
  return cutter.finish();
}

/** Whether a block is to be shown as it is. Nobody writes such; a model may, and again with every word that it adds. */
export function isCostly(block: string): boolean {
  if (FENCE.test(block)) return false;
  const numMarks = block.match(/[*_~]+/g)?.length ?? 0;
  return block.length > MAX_LENGTH || numMarks > MAX_MARKS || TOO_DEEP.test(block);
}

/** Whether a fence, as it stands in a text, has its end: without, more may come. It may stand in lists and quotes. */
export function isClosed(source: string): boolean {
  const fence = /^(?:`{3,}|~{3,})/.exec(source)?.[0];
  if (fence === undefined) return false;
  const last = source.slice(source.lastIndexOf("\n") + 1).replace(/^[>\s]*/, "");
  return source.includes("\n") && new RegExp(`^${fence[0]}{${fence.length},}\\s*$`).test(last);
}

class Cutter {
  readonly #blocks: string[] = [];
  #lines: string[] = [];
  /** What ends the fence or the formula that is open. */
  #closes: ((line: string) => boolean) | null = null;
  #isAfterBlank = false;
  #hasList = false;
  /** Whether what is open is a fence that is a block of its own. */
  #isFence = false;

  add(line: string): void {
    if (this.#closes !== null) {
      this.#lines.push(line);
      if (!this.#closes(line)) return;
      this.#closes = null;
      if (this.#isFence) this.#cut();
      return;
    }
    if (line.trim() === "") {
      this.#isAfterBlank = true;
      this.#lines.push(line);
      return;
    }
    this.#isFence = !this.#hasList && FENCE.test(line);
    if (this.#isFence || (this.#isAfterBlank && !this.#goesOn(line))) this.#cut();
    this.#isAfterBlank = false;
    this.#lines.push(line);
    this.#hasList ||= LIST_ITEM.test(line);
    this.#closes = endOf(line);
  }

  finish(): string[] {
    this.#cut();
    return this.#blocks;
  }

  /** Whether a line after an empty one may belong to what stands before: a list's next item, or what is within one. */
  #goesOn(line: string): boolean {
    return INDENTED.test(line) || (this.#hasList && LIST_ITEM.test(line));
  }

  #cut(): void {
    const block = this.#lines.join("\n");
    if (block.trim() !== "") this.#blocks.push(block);
    this.#lines = [];
    this.#hasList = false;
  }
}

/** If a line opens a fence or a formula that goes on below, what will close it. */
function endOf(line: string): ((line: string) => boolean) | null {
  const fence = FENCE.exec(line)?.[1];
  if (fence !== undefined) {
    const closing = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}\\s*$`);
    return (each) => closing.test(each);
  }
  const opens = MATH_OPENS.exec(line);
  if (opens === null) return null;
  const close = opens[0].trim() === "$$" ? "$$" : "\\]";
  return line.slice(opens[0].length).includes(close) ? null : (each) => each.includes(close);
}
