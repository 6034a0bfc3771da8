/**
 * The turns of one chat that is open, kept outside of React: what arrives is there at once, and those who look are told
 * once a frame, so that a fast model costs no more renders than a slow one.
 */

import { useEffect, useState, useSyncExternalStore } from "react";
import { type Ask, cancelResponse, createTurn, deleteBranch, getResponse, listTurns } from "../api/chats";
import type { Turn } from "../api/types";
import { strings } from "../strings";
import { whenChanged } from "./changes";
import { Cut } from "./cut";
import { follow } from "./follow";
import { hasWords } from "./items";
import { isActive, settle } from "./reduce";
import { branchOf, type Tree, treeOf } from "./tree";

export class TurnStore {
  #turns = new Map<string, Turn>();
  #tree: Tree = treeOf([]);
  #loading: Promise<void> | undefined;
  #isLoaded = false;
  #problem: Error | null = null;
  readonly #followed = new Set<string>();
  readonly #watchers = new Set<() => void>();
  readonly #closing = new AbortController();
  #tellsSoon = false;
  /** What of it the model was not shown any more. */
  readonly cut = new Cut();

  constructor(readonly chat: string) {}

  readonly subscribe = (watcher: () => void): (() => void) => {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  };
  readonly tree = (): Tree => this.#tree;
  readonly isLoaded = (): boolean => this.#isLoaded;
  /** Why not all turns are there. */
  readonly problem = (): Error | null => this.#problem;

  turn(id: string): Turn | undefined {
    return this.#turns.get(id);
  }

  /** Fetch the turns that are not there yet; those that another tab has asked for meanwhile, too. */
  load(): Promise<void> {
    this.#loading ??= this.#fetch().finally(() => {
      this.#loading = undefined;
      this.#tell();
    });
    return this.#loading;
  }

  /** The chat has changed elsewhere: fetch what has come; all of it, if turns may have been taken away. */
  async refresh(isCut: boolean): Promise<void> {
    await this.#loading; // its list may be older than the change
    if (isCut) await this.#fetchAnew();
    await this.load();
  }

  /** Ask something. The answer comes by itself. */
  async ask(ask: Ask): Promise<Turn> {
    const turn = await createTurn(this.chat, ask);
    this.#add([turn]);
    return turn;
  }

  async cancel(id: string): Promise<void> {
    const response = await cancelResponse(id);
    const turn = this.#turns.get(id);
    if (turn) this.#set(settle(turn, response));
  }

  /**
   * Fetch how likely each word of an answer was, which the list of turns may leave out.
   *
   * @throws Error if nobody knows.
   */
  async fetchWords(id: string): Promise<void> {
    const response = await getResponse(id, this.#closing.signal);
    const turn = this.#turns.get(id);
    if (turn === undefined) return;
    const told = settle(turn, response);
    if (!hasWords(told)) throw new Error(strings.words.none);
    this.#turns.set(id, told);
    this.#tell();
  }

  /** Delete a turn and all that go on from it. */
  async remove(id: string): Promise<void> {
    await deleteBranch(this.chat, id);
    for (const gone of branchOf(this.#tree, id)) this.#turns.delete(gone);
    this.#grow();
  }

  /** Stop listening to the server. What it is making it goes on making. */
  close(): void {
    this.#closing.abort();
  }

  async #fetch(): Promise<void> {
    try {
      for (let more = true; more; ) {
        const page = await listTurns(this.chat, [...this.#turns.keys()].at(-1), this.#closing.signal);
        this.#add(page.data);
        more = page.has_more;
      }
      this.#isLoaded = true;
      this.#problem = null;
    } catch (error) {
      this.#problem = error instanceof Error ? error : new Error(String(error));
    }
  }

  /** Forget the turns that the server no longer has. */
  async #fetchAnew(): Promise<void> {
    const before = [...this.#turns.keys()];
    const there = new Set<string>();
    try {
      for (let more = true, after: string | undefined; more; ) {
        const page = await listTurns(this.chat, after, this.#closing.signal);
        this.#add(page.data);
        for (const { id } of page.data) there.add(id);
        after = page.last_id;
        more = page.has_more;
      }
    } catch {
      return; // whatever is wrong, `load` is about to find out
    }
    for (const id of before) if (!there.has(id)) this.#turns.delete(id);
    this.#grow();
  }

  #add(turns: Turn[]): void {
    for (const turn of turns) {
      if (this.#followed.has(turn.id)) continue; // what its events have told is newer
      this.#turns.set(turn.id, turn);
      if (isActive(turn.status)) this.#follow(turn);
    }
    this.#grow();
  }

  #follow(turn: Turn): void {
    this.#followed.add(turn.id);
    void follow(turn, (heard) => this.#set(heard), this.#closing.signal);
  }

  #set(turn: Turn): void {
    const known = this.#turns.get(turn.id);
    // It was deleted, or it has ended already: what is still on its way does not revive it.
    if (known === undefined || !isActive(known.status)) return;
    this.#turns.set(turn.id, turn);
    this.#tell();
  }

  #grow(): void {
    this.#tree = treeOf(this.#turns.values());
    this.#tell();
  }

  #tell(): void {
    if (this.#tellsSoon) return;
    this.#tellsSoon = true;
    nextFrame(() => {
      this.#tellsSoon = false;
      for (const watcher of this.#watchers) watcher();
    });
  }
}

/** A hidden page gets no frames, and is to know when an answer has ended all the same. */
function nextFrame(act: () => void): void {
  if (document.hidden) setTimeout(act, 200);
  else requestAnimationFrame(act);
}

/** The store of a chat for as long as it is shown. */
export function useTurnStore(chat: string): TurnStore | undefined {
  const [store, setStore] = useState<TurnStore>();
  useEffect(() => {
    const opened = new TurnStore(chat);
    const load = () => void opened.load();
    load();
    setStore(opened);
    const forget = whenChanged(chat, (isCut) => void opened.refresh(isCut));
    window.addEventListener("focus", load);
    window.addEventListener("online", load);
    return () => {
      forget();
      window.removeEventListener("focus", load);
      window.removeEventListener("online", load);
      opened.close();
    };
  }, [chat]);
  return store?.chat === chat ? store : undefined;
}

export function useTree(store: TurnStore): Tree {
  return useSyncExternalStore(store.subscribe, store.tree);
}

export function useTurn(store: TurnStore, id: string | undefined): Turn | undefined {
  return useSyncExternalStore(store.subscribe, () => (id === undefined ? undefined : store.turn(id)));
}
