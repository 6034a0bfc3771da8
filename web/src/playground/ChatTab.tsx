import { useState } from "react";
import { wordsOf } from "../chat/words";
import { Button } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { AnswerView } from "./AnswerView";
import { type Answer, takeChat } from "./answer";
import { CallsView } from "./CallsView";
import { FormatSection } from "./FormatSection";
import { MessagesList } from "./MessagesList";
import { ModelSelect } from "./ModelSelect";
import { chosenModel, useModels } from "./models";
import { ParametersSection } from "./ParametersSection";
import { Columns, RunBar } from "./Parts";
import { type Body, chatRequest, type Problem } from "./request";
import { useRun } from "./run";
import { type ChatState, type Message, newKey } from "./state";
import { strings } from "./strings";
import { ToolsSection } from "./ToolsSection";
import { Verdict } from "./Verdict";

interface Props {
  state: ChatState;
  onChange: (change: Partial<ChatState>) => void;
  isShown: boolean;
}

const wordsOfChat = ({ text, logprobs }: Answer) => wordsOf({ type: "output_text", text, logprobs });

export function ChatTab({ state, onChange, isShown }: Props) {
  const models = useModels("chat_completion");
  const { answer, isRunning, run, stop, clear } = useRun("v1/chat/completions", takeChat);
  const [problems, setProblems] = useState<readonly Problem[]>([]);
  /** What the answer that is shown was asked with. */
  const [asked, setAsked] = useState<Body | null>(null);

  const start = (messages: Message[] = state.messages) => {
    const { body, problems: found } = chatRequest({ ...state, messages, model: chosenModel(state.model, models) });
    setProblems(found ?? []);
    if (body === null) return;
    setAsked(body);
    void run(body);
  };
  /** Makes the answer a part of the conversation. */
  const keep = (found: Answer, more: Message[]): Message[] => {
    const { text: content, calls } = found;
    const said: Message = { key: newKey(), role: "assistant", content, ...(calls.length > 0 && { calls }) };
    const messages = [...state.messages, said, ...more];
    onChange({ messages });
    clear();
    return messages;
  };
  const giveResults = (found: Answer, results: string[]) => {
    const told = found.calls.map(
      ({ id }, at): Message => ({
        key: newKey(),
        role: "tool",
        callId: id,
        content: results[at] ?? "",
      }),
    );
    start(keep(found, told));
  };
  const isOver = answer !== null && !isRunning && answer.error === null;

  return (
    <Columns
      main={
        <>
          <MessagesList
            messages={state.messages}
            onChange={(messages) => onChange({ messages })}
            onRun={start}
            hasSkipTarget={isShown}
          />
          <RunBar isRunning={isRunning} onRun={() => start()} onStop={stop} problems={problems}>
            {isOver && answer.calls.length === 0 && answer.text !== "" && (
              <Button look="outline" onClick={() => keep(answer, [{ key: newKey(), role: "user", content: "" }])}>
                <Icon name="plus" className="size-4" />
                {strings.answer.keep}
              </Button>
            )}
          </RunBar>
          <AnswerView answer={answer} words={wordsOfChat} onRegrow={null}>
            {answer && (
              <CallsView
                calls={answer.calls}
                onResults={isOver && !answer.isStopped ? (results) => giveResults(answer, results) : null}
              />
            )}
            {isOver && !answer.isStopped && answer.text !== "" && (
              <Verdict text={answer.text} format={asked?.response_format} />
            )}
          </AnswerView>
        </>
      }
      side={
        <>
          <ModelSelect models={models} model={state.model} onChange={(model) => onChange({ model })} />
          <ParametersSection
            of="chat"
            parameters={state.parameters}
            onChange={(change) => onChange({ parameters: { ...state.parameters, ...change } })}
          />
          <FormatSection
            format={state.format}
            onChange={(change) => onChange({ format: { ...state.format, ...change } })}
          />
          <ToolsSection
            tools={state.tools}
            choice={state.toolChoice}
            onTools={(tools) => onChange({ tools })}
            onChoice={(toolChoice) => onChange({ toolChoice })}
          />
        </>
      }
    />
  );
}
