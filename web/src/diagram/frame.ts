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
    theme: isDark ? "dark" : "neutral",
    darkMode: isDark,
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
