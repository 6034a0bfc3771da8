/** Which answers stand side by side. Pure. */

import type { Compared } from "../api/types";
import { siblingsOf, type Tree } from "../chat/tree";

/** Those at the end of a branch; none if one was chosen, or is gone. */
export function openPair(tree: Tree, last: string | null, compared: Compared[] | undefined): Compared[] | null {
  if (last === null || compared === undefined || compared.length < 2) return null;
  const siblings = siblingsOf(tree, last);
  const isOpen = compared.some(({ id }) => id === last) && compared.every(({ id }) => siblings.includes(id));
  return isOpen ? compared : null;
}
