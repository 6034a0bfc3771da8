import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import { type Ask, chatQuery, forkChat, noteChat, updateChat } from "../api/chats";
import type { ChatSettings, Item, Turn } from "../api/types";
import { strings } from "../strings";
import type { Attempt } from "./attempt";
import { askedAgain, question } from "./items";
import type { TurnStore } from "./store";

/** What can be done in a conversation. */
export interface Actions {
  /** Ask something that goes on from `previous`; whether that could be sent. */
  ask: (previous: string | null, text: string) => Promise<boolean>;
  /** Have the same question answered once more, with an answer that begins with `prefix`. */
  retry: (turn: Turn, prefix?: string) => void;
  /** Show the branch that goes through a turn. */
  show: (turn: string) => void;
  /** Have the probabilities of an answer's words fetched; whether there are any. */
  fetchWords: (turn: Turn) => Promise<boolean>;
  /** Of answers side by side, go on with one. */
  pick: (turn: string) => void;
  fork: (turn: Turn) => void;
  /** Delete a turn and all that go on from it. */
  remove: (turn: Turn) => void;
}

/** The same object for as long as model and settings are the same: the turns are rendered with it. */
export function useActions(
  chat: string,
  store: TurnStore,
  model: string | undefined,
  settings: ChatSettings,
  attempt: Attempt,
): Actions {
  const client = useQueryClient();
  const navigate = useNavigate();

  return useMemo(() => {
    const open = (chatId: string, at?: string) =>
      navigate({
        to: "/c/$chatId",
        params: { chatId },
        search: at === undefined ? {} : { at },
        replace: chatId === chat,
      });
    const ask = (what: Pick<Ask, "input" | "previous" | "prefix">) =>
      attempt(async () => {
        if (model === undefined) throw new Error(strings.composer.noModels);
        const turn = await store.ask({ ...what, model, settings });
        await open(chat, turn.id);
        // The title may come from this question, and the chat is the newest now.
        await client.invalidateQueries({ queryKey: ["chat", chat] });
        await client.invalidateQueries({ queryKey: ["chats"] });
      });
    const askTwo = (input: Item[], previous: string | null) =>
      attempt(async () => {
        if (model === undefined) throw new Error(strings.composer.noModels);
        const { askBoth } = await import("../compare/ask");
        const kept = await client.ensureQueryData(chatQuery(chat));
        const asked = await askBoth(
          chat,
          { input, previous },
          model,
          settings,
          kept.settings,
          (what) => store.ask(what),
          (turn) => store.remove(turn.id),
        );
        noteChat(client, asked.chat);
        await open(chat, asked.turns[0]?.id);
      });
    return {
      ask: (previous, text) =>
        settings.versus ? askTwo(question(text), previous) : ask({ input: question(text), previous }),
      retry: ({ input, previous }, prefix) =>
        void ask({ input: askedAgain(input), previous, ...(prefix !== undefined && { prefix }) }),
      show: (turn) =>
        void attempt(async () => {
          await open(chat, turn);
          // Whoever comes back to the chat finds the branch that they left.
          client.setQueryData(chatQuery(chat).queryKey, await updateChat(chat, { head: turn }));
        }),
      pick: (turn) =>
        void attempt(async () => {
          const { settings: kept } = await client.ensureQueryData(chatQuery(chat));
          const { compared, ...rest } = kept;
          noteChat(client, await updateChat(chat, { head: turn, settings: rest }));
          await open(chat, turn);
        }),
      fetchWords: (turn) => attempt(() => store.fetchWords(turn.id)),
      fork: (turn) =>
        void attempt(async () => {
          const fork = await forkChat(chat, turn.id);
          noteChat(client, fork);
          await open(fork.id);
        }),
      remove: (turn) =>
        void attempt(async () => {
          await store.remove(turn.id);
          await open(chat, turn.previous ?? undefined);
          await client.invalidateQueries({ queryKey: ["chat", chat] });
        }),
    };
  }, [chat, settings, store, model, attempt, client, navigate]);
}
