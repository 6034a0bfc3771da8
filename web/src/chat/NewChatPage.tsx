/** A chat that has not begun: it is made when the first question is sent. */

import { useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useState } from "react";
import { type Ask, createChat, createTurn, deleteChat, noteChat } from "../api/chats";
import { CompareButton } from "../compare/CompareButton";
import type { Preset } from "../presets/api";
import { begunWith, withoutPreset } from "../presets/begin";
import { TopBar } from "../shell/Shell";
import { strings } from "../strings";
import { Check } from "../ui/Check";
import { Icon } from "../ui/Icon";
import { useTitle } from "../ui/title";
import { useAttempt } from "./attempt";
import { Composer } from "./Composer";
import { useAskedSettings, useShelf } from "./files/shelf";
import { question } from "./items";
import { ModelPicker } from "./ModelPicker";
import { firstSettings, rememberModel, useModel } from "./model";
import { SettingsButton } from "./SettingsButton";

const Starter = lazy(() => import("../presets/Starter"));

/** Under this the store of files for the chat is kept until there is one: as long as what is typed is. */
const DRAFT_STORE = "draft.new.store";

export function NewChatPage() {
  const [settings, setSettings] = useState(() => {
    const store = sessionStorage.getItem(DRAFT_STORE);
    return store === null ? firstSettings() : { ...firstSettings(), vector_store: store };
  });
  const [isTemporary, setIsTemporary] = useState(false);
  const { problem, attempt } = useAttempt();
  const model = useModel(settings);
  const client = useQueryClient();
  const navigate = useNavigate();
  const { assistant } = useSearch({ from: "/signed-in/shell/" });
  const choose = (id: string | undefined) =>
    void navigate({ to: "/", search: id === undefined ? {} : { assistant: id }, replace: true });
  const apply = useCallback(
    (preset: Preset | undefined) =>
      setSettings((now) => (preset ? begunWith(preset, now) : { ...withoutPreset(now), ...firstSettings() })),
    [],
  );
  const shelf = useShelf(settings.vector_store, async (made) => {
    sessionStorage.setItem(DRAFT_STORE, made);
    setSettings((now) => ({ ...now, vector_store: made }));
  });
  const asked = useAskedSettings(settings, shelf);
  useTitle("");

  const send = (text: string) =>
    attempt(async () => {
      if (model === undefined) throw new Error(strings.composer.noModels);
      let chat = await createChat({ ...settings, model }, isTemporary);
      const first = { input: question(text), previous: null };
      try {
        if (settings.versus) {
          const { askBoth } = await import("../compare/ask");
          const { id } = chat;
          const ask = (what: Ask) => createTurn(id, what);
          chat = (await askBoth(id, first, model, asked, chat.settings, ask, async () => {})).chat;
        } else {
          await createTurn(chat.id, { ...first, model, settings: asked });
        }
      } catch (error) {
        await deleteChat(chat.id);
        throw error;
      }
      sessionStorage.removeItem(DRAFT_STORE);
      noteChat(client, chat);
      await navigate({ to: "/c/$chatId", params: { chatId: chat.id } });
    });
  const chooseModel = (chosen: string) => {
    setSettings({ ...settings, model: chosen });
    rememberModel(chosen);
  };

  return (
    <>
      <TopBar />
      <main className="flex min-h-0 flex-1 flex-col">
        <div className="grid min-h-0 flex-1 place-content-center justify-items-center gap-3 overflow-y-auto p-6 text-center">
          {!settings.preset && (
            <>
              <Icon name="mark" className="size-12 text-brass" />
              <h1 className="font-semibold text-2xl tracking-tight">{strings.welcome.title}</h1>
              <p className="max-w-md text-balance text-soft">{strings.welcome.text}</p>
            </>
          )}
          <Suspense fallback={<div className="h-9" />}>
            <Starter
              chosen={assistant}
              applied={settings.preset?.id}
              onChoose={choose}
              onApply={apply}
              onAsk={(text) => void send(text)}
            />
          </Suspense>
          <Check
            label={strings.welcome.temporary}
            hint={strings.welcome.temporaryHint}
            isChecked={isTemporary}
            onChange={setIsTemporary}
          />
        </div>
        <Composer draftKey="draft.new" isReady={model !== undefined} onSend={send} problem={problem} shelf={shelf}>
          <ModelPicker model={model} onChange={chooseModel} />
          <SettingsButton settings={settings} onChange={setSettings} />
          <CompareButton settings={settings} onChange={setSettings} />
        </Composer>
      </main>
    </>
  );
}
