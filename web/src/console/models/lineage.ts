/** Which model was made from which. Pure. */

import type { Model } from "../../api/schemas";

export interface Node {
  model: Model;
  children: Node[];
}

/** Trees, by name. A model whose base is not here is a root; so is one of a circle, lest its models vanish. */
export function lineageOf(models: readonly Model[]): Node[] {
  const sorted = [...models].sort((one, other) => one.id.localeCompare(other.id));
  const nodes = new Map(sorted.map((model): [string, Node] => [model.id, { model, children: [] }]));
  const roots: Node[] = [];
  for (const node of nodes.values()) {
    const parent = leadsBack(node, nodes) ? undefined : nodes.get(node.model.parent ?? "");
    (parent?.children ?? roots).push(node);
  }
  return roots;
}

function leadsBack(node: Node, nodes: ReadonlyMap<string, Node>): boolean {
  const seen = new Set<Node>();
  for (let at: Node | undefined = node; at !== undefined; at = nodes.get(at.model.parent ?? "")) {
    if (seen.has(at)) return at === node;
    seen.add(at);
  }
  return false;
}
