/** One question to two at once. Each answer is a branch of the chat; the chat's settings say that they stand side by side. */

import { type Ask, updateChat } from "../api/chats";
import type { Chat, ChatSettings, Item, Turn } from "../api/types";
import { contenders } from "./contenders";
import { stopwatch } from "./pace";

export interface Asked {
  turns: Turn[];
  /** The chat, with the turns in its settings. */
  chat: Chat;
}

/**
 * Ask both. If one of them cannot be asked, nobody is.
 *
 * @param settings those that the question is asked with: without a store in which nothing can be found yet.
 * @param kept those that the chat has.
 */
export async function askBoth(
  chat: string,
  { input, previous }: { input: Item[]; previous: string | null },
  model: string,
  settings: ChatSettings,
  kept: ChatSettings,
  ask: (what: Ask) => Promise<Turn>,
  undo: (turn: Turn) => Promise<unknown>,
): Promise<Asked> {
  const both = contenders(model, settings);
  const nowMs = performance.now();
  const results = await Promise.allSettled(
    both.map((each) => ask({ input, previous, model: each.model, settings: each.settings })),
  );
  const turns = results.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const failure = results.find((each) => each.status === "rejected");
  if (failure) {
    for (const turn of turns) await undo(turn);
    throw failure.reason;
  }
  for (const { id } of turns) stopwatch.start(id, nowMs);
  const compared = turns.map(({ id }, at) => ({ id, label: both[at]?.label ?? "" }));
  return { turns, chat: await updateChat(chat, { settings: { ...kept, compared } }) };
}
