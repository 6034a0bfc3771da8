/** A chat that has not begun: it is made when the first question is sent. */

import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { createChat, createTurn, deleteChat, noteChat } from "../api/chats";
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
  const shelf = useShelf(settings.vector_store, async (made) => {
    sessionStorage.setItem(DRAFT_STORE, made);
    setSettings((now) => ({ ...now, vector_store: made }));
  });
  const asked = useAskedSettings(settings, shelf);
  useTitle("");

  const send = (text: string) =>
    attempt(async () => {
      if (model === undefined) throw new Error(strings.composer.noModels);
      const chat = await createChat({ ...settings, model }, isTemporary);
      try {
        await createTurn(chat.id, { input: question(text), previous: null, model, settings: asked });
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
          <Icon name="mark" className="size-12 text-brass" />
          <h1 className="font-semibold text-2xl tracking-tight">{strings.welcome.title}</h1>
          <p className="max-w-md text-balance text-soft">{strings.welcome.text}</p>
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
        </Composer>
      </main>
    </>
  );
}
