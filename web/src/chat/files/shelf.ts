/**
 * The files of one chat, kept outside of React: they go on being sent and read while a person writes, and when what shows
 * them is made anew.
 */

import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { ApiError } from "../../api/client";
import type { ChatSettings } from "../../api/types";
import { attach, createStore, getFile, listFiles, removeFile, type Stored, sendFile } from "./api";

const POLL_MS = 700;

export interface Attachment {
  /** Of this page; a file that is being sent has no id yet. */
  key: string;
  id: string | undefined;
  name: string;
  state: "sending" | "reading" | "ready" | "failed";
  /** Which part of it was sent, from 0 to 1. */
  sent: number;
  /** Why it failed. */
  problem: string;
}

export class Shelf {
  #files: readonly Attachment[] = [];
  #isLoaded: boolean;
  #isLoading = false;
  #numAdded = 0;
  #making: Promise<string> | undefined;
  readonly #sending = new Map<string, AbortController>();
  readonly #watchers = new Set<() => void>();
  #store: string | undefined;
  readonly #onStore: (store: string) => Promise<unknown>;

  /** `store` is the chat's vector store, if it has one; `onStore` is to keep the one that is made with the first file. */
  constructor(store: string | undefined, onStore: (store: string) => Promise<unknown>) {
    this.#store = store;
    this.#onStore = onStore;
    this.#isLoaded = store === undefined;
  }

  readonly subscribe = (watcher: () => void): (() => void) => {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  };
  readonly files = (): readonly Attachment[] => this.#files;
  /** Whether a question asked now could not be answered from all of the files. */
  readonly isBusy = (): boolean =>
    !this.#isLoaded || this.#files.some(({ state }) => state === "sending" || state === "reading");
  readonly hasFiles = (): boolean => this.#files.length > 0;
  /** Whether there is anything to search. */
  readonly isUsable = (): boolean => this.#files.some(({ state }) => state === "ready");

  /** Fetch what is in the store, which another tab may have made. */
  async load(store: string | undefined): Promise<void> {
    if (store === undefined || this.#isLoading || (this.#isLoaded && this.#store === store)) return;
    this.#store = store;
    this.#isLoading = true;
    try {
      const found = await patiently(() => listFiles(store));
      const known = new Set(this.#files.map((each) => each.id));
      this.#isLoaded = true;
      this.#put([...found.filter(({ id }) => !known.has(id)).map(shown), ...this.#files]);
      for (const { id, status } of found)
        if (status === "in_progress" && !known.has(id)) void this.#hear(store, id, id);
    } catch {
      // It is gone, or another server's: the chat goes on without, and the next file makes another.
      this.#store = undefined;
      this.#isLoaded = true;
      this.#put(this.#files);
    }
    this.#isLoading = false;
  }

  add(files: Iterable<File>): void {
    for (const file of files) void this.#add(file);
  }

  async remove(key: string): Promise<void> {
    const file = this.#files.find((each) => each.key === key);
    this.#sending.get(key)?.abort();
    this.#put(this.#files.filter((each) => each.key !== key));
    try {
      if (file?.id) await removeFile(file.id);
    } catch (error) {
      if (file && !(error instanceof ApiError && error.status === 404)) {
        this.#put([...this.#files, { ...file, problem: wordsOf(error) }]);
      }
    }
  }

  async #add(file: File): Promise<void> {
    const key = `new-${this.#numAdded++}`;
    const sending = new AbortController();
    this.#sending.set(key, sending);
    this.#put([...this.#files, { key, id: undefined, name: file.name, state: "sending", sent: 0, problem: "" }]);
    try {
      const store = await this.#made();
      const id = await sendFile(file, (sent) => this.#change(key, { sent }), sending.signal);
      // Removed while its last bytes were on their way.
      if (sending.signal.aborted) return void (await removeFile(id));
      this.#change(key, { id, state: "reading" });
      await attach(store, id, file.name);
      await this.#hear(store, id, key);
    } catch (error) {
      if (!sending.signal.aborted) this.#change(key, { state: "failed", problem: wordsOf(error) });
    } finally {
      this.#sending.delete(key);
    }
  }

  /** The store, which is made once; if that fails, the next file tries again. */
  async #made(): Promise<string> {
    if (this.#store !== undefined) return this.#store;
    this.#making ??= createStore().then(async (store) => {
      // Before it is kept, so that nobody takes it for one that is to be loaded.
      this.#store = store;
      try {
        await this.#onStore(store);
      } catch (error) {
        this.#store = undefined;
        throw error;
      }
      return store;
    });
    try {
      return await this.#making;
    } finally {
      this.#making = undefined;
    }
  }

  async #hear(store: string, id: string, key: string): Promise<void> {
    try {
      for (let found = await patiently(() => getFile(store, id)); ; found = await patiently(() => getFile(store, id))) {
        if (!this.#files.some((each) => each.key === key)) return; // removed
        const { state, problem } = shown(found);
        this.#change(key, { state, problem });
        if (state !== "reading") return;
        await pause();
      }
    } catch (error) {
      this.#change(key, { state: "failed", problem: wordsOf(error) });
    }
  }

  #change(key: string, change: Partial<Attachment>): void {
    this.#put(this.#files.map((each) => (each.key === key ? { ...each, ...change } : each)));
  }

  #put(files: readonly Attachment[]): void {
    this.#files = files;
    for (const watcher of this.#watchers) watcher();
  }
}

function shown({ id, status, last_error, attributes }: Stored): Attachment {
  const state = status === "completed" ? "ready" : status === "in_progress" ? "reading" : "failed";
  return { key: id, id, name: String(attributes?.filename ?? id), state, sent: 1, problem: last_error?.message ?? "" };
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Asks until the server answers: what it is doing it goes on doing while it cannot be reached. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof ApiError && !error.isTransient) throw error;
      await pause();
    }
  }
}

function pause(): Promise<void> {
  return new Promise((done) => setTimeout(done, POLL_MS));
}

/** The shelf of a chat. What was begun on it goes on when the chat is left. */
export function useShelf(store: string | undefined, onStore: (store: string) => Promise<unknown>): Shelf {
  const latest = useRef(onStore);
  useEffect(() => {
    latest.current = onStore;
  });
  const [shelf] = useState(() => new Shelf(store, (made) => latest.current(made)));
  useEffect(() => void shelf.load(store), [shelf, store]);
  return shelf;
}

/**
 * The settings that a question is asked with: without the store if nothing in it can be found, since the model would be
 * told to say so first.
 */
export function useAskedSettings(settings: ChatSettings, shelf: Shelf): ChatSettings {
  const isUsable = useSyncExternalStore(shelf.subscribe, shelf.isUsable);
  return useMemo(() => {
    const { vector_store, ...others } = settings;
    return isUsable ? settings : others;
  }, [settings, isUsable]);
}
