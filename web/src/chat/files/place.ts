/** Puts marks into Markdown that has become elements: at offsets of its source. A plugin of rehype; pure. */

import type { ExtraProps } from "react-markdown";

type Element = NonNullable<ExtraProps["node"]>;
type Content = Element["children"][number];

interface Root {
  type: "root";
  children: Content[];
}

export interface Place {
  /** In the Markdown. */
  offset: number;
  /** What the element of the mark says in `data-mark`. */
  name: string;
}

/** What a mark must not stand within. */
const WHOLE: ReadonlySet<string> = new Set(["a", "code", "pre"]);

export function placeMarks(places: readonly Place[]) {
  return (tree: Root, file: { toString(): string }): void => {
    const leaves = leavesOf(tree);
    const placed = new Map<Content | Root, Place[]>();
    for (const place of places) {
      const leaf = leaves.findLast(({ position }) => startOf(position) < place.offset) ?? leaves[0] ?? tree;
      placed.set(leaf, [...(placed.get(leaf) ?? []), place]);
    }
    fill(tree, placed, String(file));
  };
}

/** Texts that know where they stood; where none does, the elements that do. */
function leavesOf(node: Root | Element): Content[] {
  return node.children.flatMap((child) => {
    if (child.position === undefined) return [];
    if (child.type === "text") return [child];
    if (child.type !== "element" || child.tagName === "br") return [];
    const within = WHOLE.has(child.tagName) ? [] : leavesOf(child);
    return within.length > 0 ? within : [child];
  });
}

function fill(node: Root | Element, placed: ReadonlyMap<Content | Root, Place[]>, source: string): void {
  node.children = node.children.flatMap((child): Content[] => {
    const places = placed.get(child) ?? [];
    if (child.type === "text") return places.length > 0 ? split(child, places, source) : [child];
    if (child.type === "element") {
      fill(child, placed, source);
      // Of a paragraph that has lost its places, a mark stands at the end; of a list or a table it would be no part.
      if (places.length > 0 && child.tagName === "p") child.children.push(...places.map(markOf));
      else return [child, ...places.map(markOf)];
    }
    return [child];
  });
  if (node.type === "root") node.children.push(...(placed.get(node) ?? []).map(markOf));
}

function split(text: Content & { type: "text" }, places: Place[], source: string): Content[] {
  const start = startOf(text.position);
  const written = source.slice(start, text.position?.end.offset);
  const parts: Content[] = [];
  let done = 0;
  for (const place of places) {
    const end = Math.max(done, shownLength(text.value, written, place.offset - start));
    if (end > done) parts.push({ type: "text", value: text.value.slice(done, end) });
    parts.push(markOf(place));
    done = end;
  }
  if (done < text.value.length) parts.push({ type: "text", value: text.value.slice(done) });
  return parts;
}

/** How much is shown of what was written up to `length`: white space and backslashes may be fewer there. */
function shownLength(shown: string, written: string, length: number): number {
  if (length >= written.length) return shown.length;
  if (shown === written) return length;
  let rest = written.slice(0, length).replace(/[\s\\]/g, "").length;
  let at = 0;
  while (rest > 0 && at < shown.length) if (/[^\s\\]/.test(shown.charAt(at++))) rest--;
  return at;
}

function markOf({ name }: Place): Content {
  return { type: "element", tagName: "mark", properties: { "data-mark": name }, children: [] };
}

function startOf(position: Content["position"]): number {
  return position?.start.offset ?? 0;
}
