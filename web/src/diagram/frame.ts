/**
 * The script of diagram.html, the document that diagrams are drawn in: it makes pictures of what the pages send and sends
 * them back. Mermaid needs style elements and attributes, which the pages do not allow themselves, and reads what a
 * model wrote; so this document has a policy of its own (api/pages.py): no origin, no cookies, no network.
 */

import mermaid from "mermaid";
import { pictureOf } from "./clean";
import { isOrder, MAX_SOURCE, type Order, type Reply } from "./order";

/** More edges take seconds to lay out. */
const MAX_EDGES = 300;
/** In characters. */
const MAX_ERROR = 2_000;

/** Of the pages' own colours (styles.css); what is not named is made of those. */
const LIGHT = {
  background: "#f5f3ee",
  primaryColor: "#dfe6f6",
  primaryTextColor: "#22252b",
  primaryBorderColor: "#7d90c4",
  secondaryColor: "#f3e6c8",
  tertiaryColor: "#dcecdd",
  lineColor: "#5a5e68",
  textColor: "#22252b",
  edgeLabelBackground: "#f5f3ee",
  noteBkgColor: "#f3e6c8",
  noteTextColor: "#22252b",
  noteBorderColor: "#b99a55",
};
const DARK = {
  // Mermaid's own `darkMode` would make the colours of parts in a row black; what is named here stays as it is but for
  // those of branches, which become darker.
  ...row("cScale", 12, ["#44598f", "#74602f", "#38663f", "#654376", "#2f6470", "#7a4640"]),
  ...row("git", 8, ["#9db2ea", "#e3c27c", "#9fd6a9", "#d3a9e6"]),
  ...row("gitBranchLabel", 8, ["#121418"]),
  scaleLabelColor: "#e7e5e0",
  rowOdd: "#1f2740",
  rowEven: "#2d3a5c",
  background: "#121418",
  primaryColor: "#2d3a5c",
  primaryTextColor: "#e7e5e0",
  primaryBorderColor: "#7488bd",
  secondaryColor: "#4a3d20",
  tertiaryColor: "#22402a",
  lineColor: "#a5a9b3",
  textColor: "#e7e5e0",
  edgeLabelBackground: "#121418",
  noteBkgColor: "#4a3d20",
  noteTextColor: "#e7e5e0",
  noteBorderColor: "#9c8048",
};

/** The numbered names that Mermaid has for the colours of parts in a row. */
function row(name: string, length: number, colours: readonly string[]): Record<string, string> {
  return Object.fromEntries(Array.from({ length }, (_, at) => [name + at, colours[at % colours.length] ?? ""]));
}

function answer(reply: Reply): void {
  // A document without an origin cannot know its parent's; that only our pages may be that, its policy says.
  parent.postMessage(reply, "*");
}

function configure(isDark: boolean): void {
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: "strict",
    suppressErrorRendering: true,
    maxTextSize: MAX_SOURCE,
    maxEdges: MAX_EDGES,
    theme: "base",
    themeVariables: isDark ? DARK : LIGHT,
    // Without HTML, Mermaid puts such a label's beginning where its middle should be.
    themeCSS: ".mindmap-node > circle + .label text { text-anchor: middle; }",
    fontFamily: "system-ui, sans-serif",
    // Labels of text, not of HTML: programs other than browsers show those, too.
    htmlLabels: false,
    flowchart: { htmlLabels: false },
    // What a diagram's own directives may not say.
    secure: [
      "secure",
      "securityLevel",
      "startOnLoad",
      "suppressErrorRendering",
      "maxTextSize",
      "maxEdges",
      "htmlLabels",
      "themeCSS",
      "fontFamily",
      "altFontFamily",
      "dompurifyConfig",
      "theme",
      "themeVariables",
      "darkMode",
    ],
  });
}

async function draw({ id, source, isDark }: Order): Promise<Reply> {
  try {
    configure(isDark);
    return { id, picture: pictureOf((await mermaid.render(`d${id}`, source)).svg) };
  } catch (error) {
    return { id, error: (error instanceof Error ? error.message : String(error)).slice(0, MAX_ERROR) };
  }
}

addEventListener("message", ({ source, data }) => {
  if (source === parent && isOrder(data)) void draw(data).then(answer);
});
answer({ ready: true });
