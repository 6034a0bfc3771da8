import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { Block } from "../../markdown/Block";
import { placeMarks } from "./place";

const components = {
  mark: (({ node }) => `‹${node?.properties["data-mark"]}›`) satisfies import("react-markdown").Components["mark"],
};

/** The HTML of Markdown in which `^` says where marks belong. */
function placed(marked: string): string {
  const pieces = marked.split("^");
  const places = pieces.slice(1).map((_, index) => ({
    offset: pieces.slice(0, index + 1).join("").length,
    name: String(index + 1),
  }));
  const html = renderToStaticMarkup(
    <Block text={pieces.join("")} rehypePlugins={[[placeMarks, places]]} otherComponents={components} />,
  );
  return html.replaceAll("\n", "");
}

test.each([
  ["One^ two.^", "<p>One‹1› two.‹2›</p>"],
  ["^One", "<p>‹1›One</p>"],
  ["**Bold.**^ And", "<p><strong>Bold.‹1›</strong> And</p>"],
  ["- one^\n- two^\n", "<ul><li>one‹1›</li><li>two‹2›</li></ul>"],
  ["# Title^\n\nText^", "<h1>Title‹1›</h1><p>Text‹2›</p>"],
  ["A \\* star^ and &amp; more^", "<p>A * star‹1› and &amp; more‹2›</p>"],
  ["One  \n   two^ three", "<p>One<br/>two‹1› three</p>"],
  ["A `co^de` b", "<p>A <code>code</code>‹1› b</p>"],
  ["^", "‹1›"],
  ["Two^^ marks", "<p>Two‹1›‹2› marks</p>"],
])("a mark stands where it was cited: %j", (marked, html) => {
  expect(placed(marked)).toBe(html);
});

test("no mark is lost, wherever it is to stand", () => {
  const texts = [
    "See [a link](https://example.org/a) and https://example.org/b, all of it.",
    "| a | b |\n|-|-|\n| 1 | 2 |\n\nText.",
    "```python\nx = 1\n```\n\n> A quote\n> in lines\n\n1. one\n   - two\n",
    "![picture](https://example.org/x.png) ~~gone~~ *it* **is**\\\nso [^1]\n\n[^1]: note",
    "<b>raw</b> &nbsp; &lt;",
  ];
  for (const text of texts) {
    for (let at = 0; at <= text.length; at++) {
      const places = [{ offset: at, name: "here" }];
      const html = renderToStaticMarkup(
        <Block text={text} rehypePlugins={[[placeMarks, places]]} otherComponents={components} />,
      );
      expect([at, html.split("‹here›").length - 1]).toEqual([at, 1]);
    }
  }
});
