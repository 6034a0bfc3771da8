/**
 * What came back of a diagram, as a picture that does nothing: no scripts, handlers, links, or addresses of elsewhere.
 * In these pages it is shown as an image, which can do none of that anyway; whoever saves the file opens it elsewhere.
 */

import { MAX_SVG, type Picture } from "./order";

const MAX_TITLE = 200;
const SVG = "http://www.w3.org/2000/svg";
/** Of HTML within a picture: text and its marks. */
const HTML = new Set([
  "br",
  "b",
  "code",
  "div",
  "em",
  "i",
  "li",
  "ol",
  "p",
  "pre",
  "span",
  "strong",
  "sub",
  "sup",
  "ul",
]);
const FORBIDDEN = new Set(["script", "iframe", "object", "embed", "image", "feimage", "handler", "set", "animate"]);

/** @throws Error if it is no picture. */
export function pictureOf(text: string): Picture {
  const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (root.namespaceURI !== SVG || root.localName !== "svg") throw new Error("It is no picture.");
  for (const element of [root, ...root.querySelectorAll("*")]) clean(element);
  const [, , width = 0, height = 0] = (root.getAttribute("viewBox") ?? "").split(/[\s,]+/).map(Number);
  if (!(width > 0 && height > 0)) throw new Error("The picture has no size.");
  // An image's own size. Mermaid's would be that of what it stands in.
  root.removeAttribute("style");
  root.setAttribute("width", String(width));
  root.setAttribute("height", String(height));
  const title = root.querySelector(":scope > title")?.textContent.trim() ?? "";
  const svg = new XMLSerializer().serializeToString(root);
  if (svg.length > MAX_SVG) throw new Error(`The picture is larger than ${MAX_SVG} characters.`);
  return { svg, width, height, title: title.slice(0, MAX_TITLE) };
}

function clean(element: Element): void {
  const name = element.localName.toLowerCase();
  if (FORBIDDEN.has(name) || (element.namespaceURI !== SVG && !HTML.has(name))) {
    element.remove();
    return;
  }
  if (name === "style") element.textContent = withoutAddresses(element.textContent);
  for (const { name: attribute, value } of [...element.attributes]) {
    const lower = attribute.toLowerCase();
    const isAddress = /(?:^|:)(?:href|src)$/.test(lower);
    if (lower.startsWith("on") || (isAddress && !value.startsWith("#"))) element.removeAttribute(attribute);
    else if (!lower.startsWith("xmlns")) element.setAttribute(attribute, withoutAddresses(value));
  }
}

/** A style, or an attribute that may be one, which names nothing but what is in the picture. */
function withoutAddresses(style: string): string {
  // An escape may hide any of the words that are looked for.
  return style
    .replaceAll("\\", "")
    .replaceAll(/@import[^;]*;?/gi, "")
    .replaceAll(/(?:url|image|image-set|src)\(\s*["']?(?!\s*["']?#)[^)]*\)?/gi, "none");
}
