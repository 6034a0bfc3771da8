/** Where a text stops being JSON: what `JSON.parse` says of that differs between browsers, and one of them says nothing. */

import { strings } from "./strings";

export interface SyntaxProblem {
  message: string;
  /** In UTF-16 units from the beginning of the text. */
  offset: number;
  line: number;
  column: number;
}

export type Parsed = { value: unknown; problem: null } | { value: undefined; problem: SyntaxProblem };

export function parseJson(text: string): Parsed {
  try {
    return { value: JSON.parse(text), problem: null };
  } catch {
    return { value: undefined, problem: located(text, firstWrong(text)) };
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

interface Wrong {
  message: string;
  offset: number;
}

function located(text: string, { message, offset }: Wrong): SyntaxProblem {
  const before = text.slice(0, offset).split(/\r\n|\n|\r/);
  const last = before.at(-1) ?? "";
  // As people count: an emoji is one column.
  return { message, offset, line: before.length, column: [...last].length + 1 };
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const PLAIN = /[^"\\\p{Cc}]*/uy;
const ESCAPE = /\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y;

/** Where, within an array or object, the reader is. */
type Expected = keyof typeof strings.syntax.expected;

/** Reads without recursion: the text may be nested as deeply as it likes. */
class Reader {
  #at = 0;
  readonly #open: ("[" | "{")[] = [];
  #expected: Expected = "value";

  constructor(readonly text: string) {}

  /** The first mistake; the end of the text if there is none, which is where more was expected. */
  read(): Wrong {
    for (;;) {
      this.#take(SPACE);
      const wrong = this.#step();
      if (wrong !== null) return wrong;
      if (this.#open.length === 0 && this.#expected === "comma or end") {
        this.#take(SPACE);
        return { message: strings.syntax.more, offset: this.#at };
      }
    }
  }

  #step(): Wrong | null {
    const next = this.text[this.#at];
    if (next === undefined) return this.#wrong(`${strings.syntax.ends}: ${strings.syntax.expected[this.#expected]}`);
    if ((next === "}" || next === "]") && this.#expected.endsWith("or end")) return this.#close(next);
    switch (this.#expected) {
      case "comma or end":
        if (next !== ",") return this.#unexpected();
        this.#expect(this.#open.at(-1) === "{" ? "key" : "value", 1);
        return null;
      case "colon":
        if (next !== ":") return this.#unexpected();
        this.#expect("value", 1);
        return null;
      case "key":
      case "key or end":
        return next === '"' ? this.#string("colon") : this.#unexpected();
      default:
        return this.#value(next);
    }
  }

  #value(next: string): Wrong | null {
    if (next === '"') return this.#string("comma or end");
    if (next === "{" || next === "[") {
      this.#open.push(next);
      this.#expect(next === "{" ? "key or end" : "value or end", 1);
      return null;
    }
    if (this.#take(WORD) === "" && this.#take(NUMBER) === "") return this.#unexpected();
    this.#expected = "comma or end";
    return null;
  }

  #string(then: Expected): Wrong | null {
    this.#at += 1;
    for (;;) {
      this.#take(PLAIN);
      const next = this.text[this.#at];
      if (next === '"') {
        this.#expect(then, 1);
        return null;
      }
      if (next === undefined) return this.#wrong(strings.syntax.endsInString);
      if (next !== "\\") return this.#wrong(strings.syntax.control);
      if (this.#take(ESCAPE) === "") return this.#wrong(strings.syntax.escape);
    }
  }

  #close(next: "}" | "]"): Wrong | null {
    const open = this.#open.pop();
    if ((open === "{") !== (next === "}")) return this.#wrong(strings.syntax.bracket(open === "{" ? "}" : "]"));
    this.#expect("comma or end", 1);
    return null;
  }

  #expect(expected: Expected, consumed: number): void {
    this.#expected = expected;
    this.#at += consumed;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #unexpected(): Wrong {
    return this.#wrong(strings.syntax.expected[this.#expected]);
  }

  #wrong(message: string): Wrong {
    return { message, offset: this.#at };
  }
}

function firstWrong(text: string): Wrong {
  return new Reader(text).read();
}
