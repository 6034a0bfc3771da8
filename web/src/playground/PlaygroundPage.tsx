/** The playground: every operation of inference with everything that it can be asked with. Loaded with its address. */

import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { TopBar } from "../shell/Shell";
import { strings as shared } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { useTitle } from "../ui/title";
import { ChatTab } from "./ChatTab";
import { CodeDialog } from "./CodeDialog";
import { CompletionTab } from "./CompletionTab";
import { EmbeddingsTab } from "./EmbeddingsTab";
import { type Ability, chosenModel, useModels } from "./models";
import { type Built, chatRequest, completionRequest, embeddingsRequest } from "./request";
import { initial, load, type Playground, save } from "./state";
import { strings } from "./strings";
import { TabPanel, Tabs, useTabsId } from "./Tabs";

const TABS = ["chat", "completion", "embeddings"] as const;
type Tab = (typeof TABS)[number];

const ABILITIES: Record<Tab, Ability> = { chat: "chat_completion", completion: "completion", embeddings: "embeddings" };
const OPTIONS = TABS.map((tab) => ({ value: tab, label: strings.tabs[tab] }));

export function PlaygroundPage() {
  const { tab: named } = useSearch({ from: "/signed-in/shell/playground" });
  const navigate = useNavigate();
  const tab = TABS.find((each) => each === named) ?? "chat";
  const [state, setState] = useState(() => load(sessionStorage));
  /** A new one has every part begin anew, with what it has not told anybody. */
  const [generation, setGeneration] = useState(0);
  const [dialog, setDialog] = useState<"code" | "reset" | null>(null);
  const id = useTabsId();
  useTitle(strings.title);
  useEffect(() => save(sessionStorage, state), [state]);

  const change =
    <Part extends Tab>(part: Part) =>
    (changed: Partial<Playground[Part]>) =>
      setState((before) => ({ ...before, [part]: { ...before[part], ...changed } }));
  const reset = () => {
    setState(initial());
    setGeneration(generation + 1);
  };
  const show = (next: Tab) => void navigate({ to: "/playground", search: { tab: next }, replace: true });

  return (
    <>
      <TopBar title={strings.title}>
        <IconButton label={strings.reset} onClick={() => setDialog("reset")}>
          <Icon name="retry" />
        </IconButton>
        <Button onClick={() => setDialog("code")}>
          <Icon name="code" className="size-4" />
          {strings.code}
        </Button>
      </TopBar>
      <main className="flex min-h-0 flex-1 flex-col overflow-y-auto">
        <div className="mx-auto w-full max-w-6xl px-3 pt-1 pb-4 sm:px-4">
          <Tabs label={strings.tabList} tabs={OPTIONS} value={tab} onChange={show} id={id} />
        </div>
        <TabPanel id={id} value="chat" isShown={tab === "chat"}>
          <ChatTab key={generation} state={state.chat} onChange={change("chat")} isShown={tab === "chat"} />
        </TabPanel>
        <TabPanel id={id} value="completion" isShown={tab === "completion"}>
          <CompletionTab
            key={generation}
            state={state.completion}
            onChange={change("completion")}
            isShown={tab === "completion"}
          />
        </TabPanel>
        <TabPanel id={id} value="embeddings" isShown={tab === "embeddings"}>
          <EmbeddingsTab
            key={generation}
            state={state.embeddings}
            onChange={change("embeddings")}
            isShown={tab === "embeddings"}
          />
        </TabPanel>
      </main>
      {dialog === "code" && <Code tab={tab} state={state} onClose={() => setDialog(null)} />}
      {dialog === "reset" && <Reset onReset={reset} onClose={() => setDialog(null)} />}
    </>
  );
}

function Code({ tab, state, onClose }: { tab: Tab; state: Playground; onClose: () => void }) {
  const model = chosenModel(state[tab].model, useModels(ABILITIES[tab]));
  const builders: Record<Tab, () => Built> = {
    chat: () => chatRequest({ ...state.chat, model }),
    completion: () => completionRequest({ ...state.completion, model }),
    embeddings: () => embeddingsRequest({ ...state.embeddings, model }),
  };
  return <CodeDialog operation={tab} request={builders[tab]()} onClose={onClose} />;
}

function Reset({ onReset, onClose }: { onReset: () => void; onClose: () => void }) {
  return (
    <Dialog title={strings.resetTitle} onClose={onClose}>
      {(close) => (
        <>
          <p className="text-soft">{strings.resetText}</p>
          <footer className="mt-2 flex justify-end gap-2">
            <Button onClick={close}>{shared.actions.cancel}</Button>
            <Button
              look="danger"
              onClick={() => {
                close();
                onReset();
              }}
            >
              {strings.resetConfirm}
            </Button>
          </footer>
        </>
      )}
    </Dialog>
  );
}
