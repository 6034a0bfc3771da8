/** One chat: the turns of the branch that is shown, and the field below that goes on from the last. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { type Ask, chatQuery, forkChat, noteChat, updateChat } from "../api/chats";
import { ApiError } from "../api/client";
import type { Chat, ChatSettings, Status } from "../api/types";
import { TopBar } from "../shell/Shell";
import { strings } from "../strings";
import { Button } from "../ui/Button";
import { useTitle } from "../ui/title";
import { ChatMenu } from "./ChatMenu";
import { Composer } from "./Composer";
import { askedAgain, question } from "./items";
import { ModelPicker } from "./ModelPicker";
import { rememberModel, useModel } from "./model";
import { isActive } from "./reduce";
import { SettingsButton } from "./SettingsButton";
import { type TurnStore, useTree, useTurnStore } from "./store";
import { Turns } from "./Turns";
import type { TurnActions } from "./TurnView";
import { pathThrough } from "./tree";

interface Props {
  id: string;
  /** A turn on the branch that is to be shown. */
  at: string | undefined;
}

export function ChatPage({ id, at }: Props) {
  const chat = useQuery(chatQuery(id));
  const store = useTurnStore(id);
  const title = chat.data ? chat.data.title || strings.chats.untitled : "";
  useTitle(title);
  const isGone = chat.error instanceof ApiError && chat.error.status === 404;
  return (
    <>
      <TopBar title={title}>{chat.data && <ChatMenu chat={chat.data} />}</TopBar>
      <main className="flex min-h-0 flex-1 flex-col">
        {chat.data && store ? (
          <Conversation chat={chat.data} store={store} at={at} />
        ) : (
          <Notice text={isGone ? strings.chats.gone : (chat.error?.message ?? strings.turn.loading)} />
        )}
      </main>
    </>
  );
}

function Notice({ text, onRetry }: { text: string; onRetry?: () => void }) {
  return (
    <div className="grid flex-1 place-content-center justify-items-center gap-3 p-6 text-center text-soft">
      <p>{text}</p>
      {onRetry && (
        <Button look="outline" onClick={onRetry}>
          {strings.actions.retry}
        </Button>
      )}
    </div>
  );
}

function Conversation({ chat, store, at }: { chat: Chat; store: TurnStore; at: string | undefined }) {
  const client = useQueryClient();
  const [problem, setProblem] = useState<string | null>(null);
  const model = useModel(chat.settings);
  const isLoaded = useSyncExternalStore(store.subscribe, store.isLoaded);
  const failure = useSyncExternalStore(store.subscribe, store.problem);
  const tree = useTree(store);
  const path = useMemo(() => {
    const shown = [at, chat.head].find((id) => id && tree.previous.has(id)) ?? null;
    return pathThrough(tree, shown);
  }, [tree, at, chat.head]);
  const last = path.at(-1) ?? null;
  const status = useStatus(store, last);

  const settle = useMutation({
    mutationFn: (settings: ChatSettings) => updateChat(chat.id, { settings }),
    onMutate: (settings) => client.setQueryData(chatQuery(chat.id).queryKey, { ...chat, settings }),
    onSuccess: (updated) => noteChat(client, updated),
    onError: (error) => setProblem(error.message),
  });
  const attempt = async (act: () => Promise<unknown>): Promise<boolean> => {
    setProblem(null);
    try {
      await act();
      return true;
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      return false;
    }
  };
  const actions = useActions(chat, store, model, attempt);

  if (!isLoaded) {
    return (
      <Notice text={failure?.message ?? strings.turn.loading} {...(failure && { onRetry: () => void store.load() })} />
    );
  }
  return (
    <>
      <Turns store={store} tree={tree} path={path} actions={actions} />
      <Announcements status={status} />
      <Composer
        draftKey={`draft.${chat.id}`}
        isReady={model !== undefined}
        onStop={status && isActive(status) && last ? () => void attempt(() => store.cancel(last)) : undefined}
        onSend={(text) => actions.ask(last, text)}
        problem={problem}
      >
        <ModelPicker
          model={model}
          onChange={(chosen) => {
            rememberModel(chosen);
            settle.mutate({ ...chat.settings, model: chosen });
          }}
        />
        <SettingsButton settings={chat.settings} onChange={settle.mutate} />
      </Composer>
    </>
  );
}

/** What can be done in a conversation. The same object for as long as the chat's settings are the same. */
function useActions(
  chat: Chat,
  store: TurnStore,
  model: string | undefined,
  attempt: (act: () => Promise<unknown>) => Promise<boolean>,
) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const latest = useRef(attempt);
  useEffect(() => {
    latest.current = attempt;
  });

  return useMemo(() => {
    const show = (turn: string | undefined) =>
      navigate({
        to: "/c/$chatId",
        params: { chatId: chat.id },
        search: turn === undefined ? {} : { at: turn },
        replace: true,
      });
    const ask = (what: Pick<Ask, "input" | "previous" | "prefix">) =>
      latest.current(async () => {
        if (model === undefined) throw new Error(strings.composer.noModels);
        const turn = await store.ask({ ...what, model, settings: chat.settings });
        await show(turn.id);
        // The title may come from this question, and the chat is the newest now.
        await client.invalidateQueries({ queryKey: ["chat", chat.id] });
        await client.invalidateQueries({ queryKey: ["chats"] });
      });
    const actions: TurnActions = {
      show: (turn) =>
        void latest.current(async () => {
          await show(turn);
          // Whoever comes back to the chat finds the branch that they left.
          client.setQueryData(chatQuery(chat.id).queryKey, await updateChat(chat.id, { head: turn }));
        }),
      ask: (previous, text) => ask({ input: question(text), previous }),
      retry: (turn, prefix) =>
        void ask({ input: askedAgain(turn.input), previous: turn.previous, ...(prefix !== undefined && { prefix }) }),
      fetchWords: (turn) => latest.current(() => store.fetchWords(turn.id)),
      fork: (turn) =>
        void latest.current(async () => {
          const fork = await forkChat(chat.id, turn.id);
          noteChat(client, fork);
          await navigate({ to: "/c/$chatId", params: { chatId: fork.id } });
        }),
      remove: (turn) =>
        void latest.current(async () => {
          await store.remove(turn.id);
          await show(turn.previous ?? undefined);
          await client.invalidateQueries({ queryKey: ["chat", chat.id] });
        }),
    };
    return actions;
  }, [chat.id, chat.settings, store, model, client, navigate]);
}

/** Of the turn alone, so that an answer that grows does not render the whole conversation. */
function useStatus(store: TurnStore, id: string | null): Status | undefined {
  return useSyncExternalStore(store.subscribe, () => (id === null ? undefined : store.turn(id)?.status));
}

/** Tells those who listen that an answer has begun or ended. Its words they read when they want to. */
function Announcements({ status }: { status: Status | undefined }) {
  const [text, setText] = useState("");
  const wasActive = useRef(false);
  const active = status !== undefined && isActive(status);
  useEffect(() => {
    if (active !== wasActive.current) setText(active ? strings.turn.began : strings.turn.ended);
    wasActive.current = active;
  }, [active]);
  return (
    <p aria-live="polite" className="sr-only">
      {text}
    </p>
  );
}
