/** JSON values as literals of Python and of JavaScript, broken into lines where they are long. */

interface Notation {
  null: string;
  true: string;
  false: string;
  indent: string;
  width: number;
  /** Between the braces of an object in one line and what is in it. */
  pad: string;
  key: (name: string) => string;
}

/** What turns the direction of the text, or breaks the line, or is not seen, is written as an escape. */
const UNSEEN = /[\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** JSON's escapes are Python's and JavaScript's too. */
export function quoted(text: string): string {
  return JSON.stringify(text).replaceAll(UNSEEN, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const PYTHON: Notation = {
  null: "None",
  true: "True",
  false: "False",
  indent: "    ",
  width: 88,
  pad: "",
  key: quoted,
};

const JAVASCRIPT: Notation = {
  null: "null",
  true: "true",
  false: "false",
  indent: "  ",
  width: 80,
  pad: " ",
  key: javascriptKey,
};

function javascriptKey(name: string): string {
  // Anything else in its place would set the prototype.
  if (name === "__proto__") return '["__proto__"]';
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : quoted(name);
}

export function python(value: unknown, depth: number): string {
  return literal(value, PYTHON, depth, 0);
}

export function javascript(value: unknown, depth: number): string {
  return literal(value, JAVASCRIPT, depth, 0);
}

/** `used` is how much of the line stands before the value. */
function literal(value: unknown, notation: Notation, depth: number, used: number): string {
  if (value === null || value === undefined) return notation.null;
  if (typeof value === "boolean") return value ? notation.true : notation.false;
  if (typeof value === "string") return quoted(value);
  if (typeof value !== "object") return String(value);
  const flat = inOneLine(value, notation);
  const room = notation.width - depth * notation.indent.length - used - 1;
  if (flat.length <= room) return flat;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const inner = notation.indent.repeat(depth + 1);
  const lines = Array.isArray(value)
    ? value.map((each) => literal(each, notation, depth + 1, 0))
    : Object.entries(value).map(([name, each]) => {
        const key = `${notation.key(name)}: `;
        return key + literal(each, notation, depth + 1, key.length);
      });
  return `${open}\n${lines.map((line) => `${inner}${line},\n`).join("")}${notation.indent.repeat(depth)}${close}`;
}

function inOneLine(value: object, notation: Notation): string {
  const flat = (each: unknown) => literal(each, { ...notation, width: Number.POSITIVE_INFINITY }, 0, 0);
  if (Array.isArray(value)) return `[${value.map(flat).join(", ")}]`;
  const pairs = Object.entries(value).map(([name, each]) => `${notation.key(name)}: ${flat(each)}`);
  if (pairs.length === 0) return "{}";
  return `{${notation.pad}${pairs.join(", ")}${notation.pad}}`;
}
