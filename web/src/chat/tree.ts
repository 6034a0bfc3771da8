/** The tree that the turns of a chat make: turns that go on from the same one are siblings, in the order of their making. */

import type { Turn } from "../api/types";

export interface Tree {
  /** Of each turn, what it goes on from; null for a first turn. */
  readonly previous: ReadonlyMap<string, string | null>;
  readonly children: ReadonlyMap<string | null, readonly string[]>;
}

/** A turn whose previous one is not there counts as a first turn, so that nothing that was said is out of reach. */
export function treeOf(turns: Iterable<Pick<Turn, "id" | "previous">>): Tree {
  const previous = new Map<string, string | null>();
  const children = new Map<string | null, string[]>();
  for (const turn of turns) {
    const parent = turn.previous !== null && previous.has(turn.previous) ? turn.previous : null;
    previous.set(turn.id, parent);
    const siblings = children.get(parent);
    if (siblings) siblings.push(turn.id);
    else children.set(parent, [turn.id]);
  }
  return { previous, children };
}

/** From the first turn through `id` to a leaf; below `id`, always by the newest child. */
export function pathThrough(tree: Tree, id: string | null): string[] {
  const path: string[] = [];
  for (let at = id; at !== null; at = tree.previous.get(at) ?? null) path.unshift(at);
  for (let at = newestChild(tree, id); at !== undefined; at = newestChild(tree, at)) path.push(at);
  return path;
}

/** All turns that go on from the same one as `id`, itself among them. */
export function siblingsOf(tree: Tree, id: string): readonly string[] {
  return tree.children.get(tree.previous.get(id) ?? null) ?? [];
}

/** `id` and all that go on from it. */
export function branchOf(tree: Tree, id: string): string[] {
  const branch = [id];
  for (const each of branch) branch.push(...(tree.children.get(each) ?? []));
  return branch;
}

function newestChild(tree: Tree, id: string | null): string | undefined {
  return tree.children.get(id)?.at(-1);
}
