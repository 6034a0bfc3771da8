/** Which items of a conversation the last answer's model was not shown: they no longer fit. */

import { useSyncExternalStore } from "react";
import type { Turn } from "../api/types";
import type { TurnStore } from "./store";

export class Cut {
  #items: ReadonlySet<string> = new Set();
  readonly #watchers = new Set<() => void>();

  readonly subscribe = (watcher: () => void): (() => void) => {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  };

  has({ input, output }: Turn): boolean {
    return [...input, ...output].some(({ id }) => id !== undefined && this.#items.has(id));
  }

  set(items: string[]): void {
    if (items.length === 0 && this.#items.size === 0) return;
    this.#items = new Set(items);
    for (const watcher of this.#watchers) watcher();
  }
}

export function useIsCut({ cut }: TurnStore, turn: Turn | undefined): boolean {
  return useSyncExternalStore(cut.subscribe, () => turn !== undefined && cut.has(turn));
}
