/** The turns of the branch that is shown, and the field below that goes on from the last. */

import { useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { chatQuery, noteChat, updateChat } from "../api/chats";
import type { Chat, ChatSettings } from "../api/types";
import { CompareButton } from "../compare/CompareButton";
import { openPair } from "../compare/pair";
import { strings } from "../strings";
import { useActions } from "./actions";
import { useAttempt } from "./attempt";
import { Composer } from "./Composer";
import { useAskedSettings, useShelf } from "./files/shelf";
import { ModelPicker } from "./ModelPicker";
import { rememberModel, useModel } from "./model";
import { Notice } from "./Notice";
import { isActive } from "./reduce";
import { SettingsButton } from "./SettingsButton";
import { type TurnStore, useTree } from "./store";
import { Turns } from "./Turns";
import { pathThrough } from "./tree";

const ContextMeter = lazy(() => import("./receipt/ContextMeter"));

interface Props {
  chat: Chat;
  store: TurnStore;
  /** A turn on the branch that is to be shown; otherwise it is the one that was looked at last. */
  at: string | undefined;
}

export function Conversation({ chat, store, at }: Props) {
  const client = useQueryClient();
  const { problem, attempt } = useAttempt();
  const model = useModel(chat.settings);
  const keep = async (settings: ChatSettings) => {
    client.setQueryData(chatQuery(chat.id).queryKey, { ...chat, settings });
    noteChat(client, await updateChat(chat.id, { settings }));
  };
  const shelf = useShelf(chat.settings.vector_store, (made) => keep({ ...chat.settings, vector_store: made }));
  const asked = useAskedSettings(chat.settings, shelf);
  const actions = useActions(chat.id, store, model, asked, attempt);
  const isLoaded = useSyncExternalStore(store.subscribe, store.isLoaded);
  const failure = useSyncExternalStore(store.subscribe, store.problem);
  const tree = useTree(store);
  const path = useMemo(() => {
    const shown = [at, chat.head].find((id) => id && tree.previous.has(id)) ?? null;
    return pathThrough(tree, shown);
  }, [tree, at, chat.head]);
  const last = path.at(-1) ?? null;
  const pair = useMemo(() => openPair(tree, last, chat.settings.compared), [tree, last, chat.settings.compared]);
  const active = useActive(store, pair?.map(({ id }) => id) ?? (last === null ? [] : [last]));

  const change = (settings: ChatSettings) => void attempt(() => keep(settings));
  const chooseModel = (chosen: string) => {
    rememberModel(chosen);
    change({ ...chat.settings, model: chosen });
  };

  if (!isLoaded && failure) return <Notice text={failure.message} onRetry={() => void store.load()} />;
  if (!isLoaded) return <Notice text={strings.turn.loading} />;
  return (
    <>
      <Turns store={store} tree={tree} path={path} pair={pair} actions={actions} />
      <Announcements isActive={active.length > 0} />
      <Composer
        draftKey={`draft.${chat.id}`}
        isReady={model !== undefined && !pair}
        onStop={
          active.length > 0 ? () => void attempt(() => Promise.all(active.map((id) => store.cancel(id)))) : undefined
        }
        onSend={(text) => actions.ask(last, text)}
        problem={problem}
        shelf={shelf}
      >
        <ModelPicker model={model} onChange={chooseModel} />
        <SettingsButton settings={chat.settings} onChange={change} />
        <CompareButton settings={chat.settings} onChange={change} />
        {last !== null && (
          <Suspense>
            <ContextMeter store={store} last={last} />
          </Suspense>
        )}
      </Composer>
    </>
  );
}

/** Those that are being made; of the turns alone, so that an answer that grows does not render the whole conversation. */
function useActive(store: TurnStore, ids: readonly string[]): string[] {
  const active = useSyncExternalStore(store.subscribe, () =>
    ids.filter((id) => isActive(store.turn(id)?.status)).join(" "),
  );
  return active === "" ? [] : active.split(" ");
}

/** Tells those who listen that an answer has begun or ended. Its words they read when they want to. */
function Announcements({ isActive: active }: { isActive: boolean }) {
  const [text, setText] = useState("");
  const wasActive = useRef(false);
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
