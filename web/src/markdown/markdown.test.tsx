import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { Block } from "./Block";
import { isClosed, splitBlocks } from "./blocks";
import { Markdown } from "./Markdown";
import { hasMath, normalizeMath } from "./math";

const TEXTS = {
  paragraphs: "# Title\n\nOne\ntwo\n\n\nThree\n***\nFour",
  fenceWithin: "Before\n```\ncode\n```\nAfter\n- item\n```\ncode\n```\nEnd",
  fence: "Before\n\n```py\na = 1\n\n\nb = '```'\n```\n\nAfter\n\n~~~~\n```\n\n~~~\n\n~~~~\nend",
  openFence: "Before\n\n```js\nlet a\n\nlet b",
  looseList: "Text:\n- one\n\n- two\n\n  still two\n\n      code\n\n- three\n\nAfter",
  orderedList: "1. one\n\n   ```\n   a\n\n   b\n   ```\n2. two\n\nAfter",
  quote: "> a\n> b\n\nAfter\n\n> c",
  table: "| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter",
  indented: "Before\n\n    code\n\n    more\n\nAfter",
  definitions: "See [it][1].\n\nAnd note[^2].\n\n[1]: https://example.com\n\n[^2]: Note.",
};

test.each(Object.entries(TEXTS))("blocks one by one mean the same as together: %s", (_, text) => {
  const markup = (each: string) => renderToStaticMarkup(<Block text={each} />);
  const squeezed = (each: string) => each.replaceAll(/>\s+</g, "><");
  expect(squeezed(splitBlocks(text).map(markup).join(""))).toBe(squeezed(markup(text)));
});

test("text that grows changes no blocks but the last ones", () => {
  const text = Object.values(TEXTS).slice(0, -1).join("\n\n");
  let before: string[] = [];
  for (let length = 1; length <= text.length; length++) {
    const blocks = splitBlocks(text.slice(0, length));
    // Two: a line that turns out to be a list's next item joins what stands before it.
    const num = Math.max(before.length - 2, 0);
    expect(blocks.slice(0, num)).toEqual(before.slice(0, num));
    before = blocks;
  }
  expect(before.length).toBeGreaterThan(5);
});

const HOSTILE = [
  "<script>alert(1)</script>",
  '<img src=x onerror="alert(1)">',
  "[x](javascript:alert(1))",
  "[x](data:text/html,<script>alert(1)</script>)",
  "[x](vbscript:x) [y](//evil.example) [z](/v1/x/session) [w](#top)",
  "<javascript:alert(1)>",
  "![x](https://evil.example/pixel.png)",
  "![x](javascript:alert(1))",
  '<svg onload="alert(1)"><a href="javascript:alert(1)">x</a></svg>',
  "<iframe src=https://evil.example></iframe><style>*{display:none}</style><form action=/><input></form>",
];

test.each(HOSTILE)("hostile text does nothing: %s", (text) => {
  const markup = renderToStaticMarkup(<Markdown text={text} />);
  expect(markup).not.toMatch(/<(?:script|img|svg|iframe|style|form|input|object|embed)/i);
  expect(markup).not.toMatch(/<[^>]*\son\w+=/i);
  const addresses = [...markup.matchAll(/(?:href|src|action)="([^"]*)"/g)].map((match) => match[1]);
  expect(addresses.filter((address) => !address?.startsWith("https://evil.example/pixel.png"))).toEqual([]);
});

test("links lead outside, and tell nobody where from", () => {
  expect(renderToStaticMarkup(<Markdown text="[a](https://example.com/?q=1) <me@example.com>" />)).toBe(
    '<div class="prose" dir="auto"><p><a href="https://example.com/?q=1" target="_blank" rel="noopener noreferrer">a</a> ' +
      '<a href="mailto:me@example.com" target="_blank" rel="noopener noreferrer">me@example.com</a></p></div>',
  );
});

const COSTLY = {
  table: `|a|\n|-|\n${"|x|\n".repeat(20_000)}`,
  quotes: "> ".repeat(2_000),
  lists: `\`\`\`\ncode\n\`\`\`\n${"- ".repeat(2_000)}x`,
  emphasis: "*a_".repeat(2_000),
};

test.each(Object.entries(COSTLY))("what would freeze the page is shown as it is: %s", (_, text) => {
  const markup = renderToStaticMarkup(<Markdown text={text} />);
  expect(markup).toContain('<pre class="max-h-96');
  expect(markup).not.toMatch(/<(?:table|blockquote|ul|em)/);
});

test("long code is code", () => {
  const text = `Before\n\`\`\`c\n${"int snake_case = *p;\n".repeat(2_000)}\`\`\`\nAfter`;
  expect(splitBlocks(text).map((block) => block.length)).toEqual([6, text.length - 13, 5]);
  expect(renderToStaticMarkup(<Markdown text={text} />)).toContain("<figure");
});

test("formulas are found in every form that models write them in, and prices are none", () => {
  expect(normalizeMath("so $x^2$ and \\(y\\)")).toBe("so $$x^2$$ and $$y$$");
  expect(normalizeMath("\\[ x = 1 \\]")).toBe("\n$$\nx = 1\n$$\n");
  expect(normalizeMath("$$x = 1$$")).toBe("\n$$\nx = 1\n$$\n");
  for (const prose of ["costs $5 or $6", "$5-$6", "US$ 3", "`$x$` and ```\n$y$\n```", "a \\$x\\$"]) {
    expect(normalizeMath(prose)).toBe(prose);
    expect(hasMath(prose)).toBe(false);
  }
});

test.each([
  "```mermaid\ngraph TD\n```",
  "~~~ mermaid\n```\n~~\n~~~",
  "```mermaid\n  a\n\n  ```",
  "```mermaid\n> a\n> > ```",
])("a fence is whole with its last character, and no sooner: %j", (text) => {
  expect(isClosed(text)).toBe(true);
  expect(isClosed(`${text}  `)).toBe(true);
  for (let at = 0; at < text.length; at++) expect([at, isClosed(text.slice(0, at))]).toEqual([at, false]);
});

test.each(["```", "``` ```", "    code\n```", "````a\n```", "```a\n~~~"])("this is no whole fence: %j", (text) => {
  expect(isClosed(text)).toBe(false);
});
