/**
 * Changes of chats, by other tabs and devices and by this one: asked for while the page is in sight, one request at a time
 * that waits until there is something. A page that comes back into sight asks for what it has missed.
 */

import type { QueryClient } from "@tanstack/react-query";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { chatQuery } from "../api/chats";
import { ApiError, get } from "../api/client";
import type { ChatChanged, ChatChangeList } from "../api/schemas";

const CHANGES = "v1/x/chats/changes";
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** Called when a chat has changed; `isCut` says that turns may have been taken away. */
type Watcher = (isCut: boolean) => void;

const watchers = new Map<string, Set<Watcher>>();

export function whenChanged(chat: string, watcher: Watcher): () => void {
  const those = watchers.get(chat) ?? new Set();
  watchers.set(chat, those.add(watcher));
  return () => {
    those.delete(watcher);
    if (those.size === 0) watchers.delete(chat);
  };
}

/** For as long as somebody is signed in. */
export function useChanges(): void {
  const client = useQueryClient();
  useEffect(() => {
    const leaving = new AbortController();
    void followChanges(client, leaving.signal);
    return () => leaving.abort();
  }, [client]);
}

async function followChanges(client: QueryClient, leaving: AbortSignal): Promise<void> {
  let cursor = "";
  for (let failures = 0; !leaving.aborted; ) {
    await inSight(leaving);
    try {
      const found = await get<ChatChangeList>(cursor ? `${CHANGES}?after=${cursor}` : CHANGES, hiddenOr(leaving));
      if (leaving.aborted) return;
      cursor = found.cursor;
      failures = 0;
      tell(client, found);
    } catch (error) {
      // Whoever is not allowed to chat, or at an older server, need not ask again.
      if (error instanceof ApiError && !error.isTransient) return;
      if (!document.hidden) await pause(failures++, leaving);
    }
  }
}

function tell(client: QueryClient, { data, reset }: ChatChangeList): void {
  if (reset) {
    void client.invalidateQueries({ queryKey: ["chats"] });
    void client.invalidateQueries({ queryKey: ["chat"] });
    for (const id of watchers.keys()) notify(id, true);
    return;
  }
  if (data.length > 0) void client.invalidateQueries({ queryKey: ["chats"] });
  for (const change of data) tellOf(client, change);
}

function tellOf(client: QueryClient, { id, cut, deleted }: ChatChanged): void {
  const { queryKey } = chatQuery(id);
  // What is gone is not shown any longer, not even as it was.
  if (deleted) void client.resetQueries({ queryKey });
  else {
    void client.invalidateQueries({ queryKey });
    notify(id, cut);
  }
}

function notify(id: string, isCut: boolean): void {
  for (const watcher of watchers.get(id) ?? []) watcher(isCut);
}

/** Until the page is in sight, or `leaving` aborts. */
function inSight(leaving: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !leaving.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    leaving.addEventListener("abort", look, { once: true });
    look();
  });
}

/** Aborts when the page goes out of sight: browsers give all tabs together few connections to one host. */
function hiddenOr(leaving: AbortSignal): AbortSignal {
  const hidden = new AbortController();
  const look = () => {
    if (document.hidden) hidden.abort();
  };
  document.addEventListener("visibilitychange", look, { signal: AbortSignal.any([hidden.signal, leaving]) });
  return AbortSignal.any([hidden.signal, leaving]);
}

/** Longer after every failure; aborting ends it early. */
function pause(failures: number, leaving: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS));
    leaving.addEventListener("abort", () => resolve(), { once: true });
  });
}
