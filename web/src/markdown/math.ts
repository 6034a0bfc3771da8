/** Formulas, as models write them, in the one form that the Markdown parser is sure of: between pairs of dollars. */

/** Fences and code spans, in which nothing is a formula. A fence may be open while the answer grows. */
const CODE = /(```[\s\S]*?(?:```|$)|~~~[\s\S]*?(?:~~~|$)|`+[^`\n]+`+)/;
const DISPLAY = /\\\[([\s\S]+?)\\\]|^ *\$\$(.+?)\$\$ *$/gm;
const INLINE = /\\\((.+?)\\\)/g;
/** As Pandoc reads them: no space inside of the dollars, no digit behind. Prices are no formulas. */
const SINGLE_DOLLARS = /(?<![\\$\w])\$(?![\s$])((?:\\.|[^$\n\\])+?)(?<!\s)\$(?![\d$])/g;

export function normalizeMath(text: string): string {
  return pieces(text).join("");
}

export function hasMath(text: string): boolean {
  return pieces(text).some((piece, index) => isProse(index) && piece.includes("$$"));
}

/** The text in turns of prose, made normal, and code, which is as it was. */
function pieces(text: string): string[] {
  return text.split(CODE).map((piece, index) => (isProse(index) ? inProse(piece) : piece));
}

function isProse(index: number): boolean {
  return index % 2 === 0;
}

function inProse(text: string): string {
  return text
    .replace(DISPLAY, (_, bracketed?: string, dollars?: string) => `\n$$\n${(bracketed ?? dollars ?? "").trim()}\n$$\n`)
    .replace(INLINE, (_, formula: string) => `$$${formula.trim()}$$`)
    .replace(SINGLE_DOLLARS, (_, formula: string) => `$$${formula}$$`);
}
