import { type KeyboardEvent, useState } from "react";
import { Button } from "../ui/Button";
import { Check } from "../ui/Check";
import { FIELD, TextField } from "../ui/Field";
import { Icon } from "../ui/Icon";
import { AnswerView } from "./AnswerView";
import { completionWords, takeCompletion } from "./answer";
import { ModelSelect } from "./ModelSelect";
import { chosenModel, useModels } from "./models";
import { ParametersSection } from "./ParametersSection";
import { Columns, RunBar } from "./Parts";
import { completionRequest, type Problem } from "./request";
import { useRun } from "./run";
import type { CompletionState } from "./state";
import { strings } from "./strings";

interface Props {
  state: CompletionState;
  onChange: (change: Partial<CompletionState>) => void;
  isShown: boolean;
}

export function CompletionTab({ state, onChange, isShown }: Props) {
  const models = useModels("completion");
  const { answer, isRunning, run, stop, clear } = useRun("v1/completions", takeCompletion);
  const [problems, setProblems] = useState<readonly Problem[]>([]);
  /** The prompt that the answer goes on from; empty if the answer has it in itself. */
  const [base, setBase] = useState("");

  const start = (prompt: string = state.prompt) => {
    const { body, problems: found } = completionRequest({
      ...state,
      prompt,
      model: chosenModel(state.model, models),
    });
    setProblems(found ?? []);
    if (body === null) return;
    setBase(state.echo ? "" : prompt);
    void run(body);
  };
  const goOn = (prompt: string) => {
    onChange({ prompt });
    start(prompt);
  };
  const append = (text: string) => {
    onChange({ prompt: base + text });
    clear();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    start();
  };

  return (
    <Columns
      main={
        <>
          <label className="flex flex-col gap-1.5">
            <span className="font-medium text-sm">{strings.completion.prompt}</span>
            <textarea
              id={isShown ? "message" : undefined}
              rows={10}
              dir="auto"
              value={state.prompt}
              onChange={(event) => onChange({ prompt: event.target.value })}
              onKeyDown={onKeyDown}
              className={`${FIELD} resize-y`}
            />
            <span className="text-soft text-xs">{strings.completion.promptHint}</span>
          </label>
          <RunBar isRunning={isRunning} onRun={() => start()} onStop={stop} problems={problems}>
            {answer && !isRunning && answer.text !== "" && state.suffix === "" && (
              <Button look="outline" onClick={() => append(answer.text)}>
                <Icon name="plus" className="size-4" />
                {strings.answer.append}
              </Button>
            )}
          </RunBar>
          <AnswerView answer={answer} words={completionWords} onRegrow={(prefix) => goOn(base + prefix)} />
        </>
      }
      side={
        <>
          <ModelSelect models={models} model={state.model} onChange={(model) => onChange({ model })} />
          <ParametersSection
            of="completion"
            parameters={state.parameters}
            onChange={(change) => onChange({ parameters: { ...state.parameters, ...change } })}
          />
          <Check label={strings.completion.echo} isChecked={state.echo} onChange={(echo) => onChange({ echo })} />
          <TextField
            label={strings.completion.suffix}
            hint={strings.completion.suffixHint}
            rows={3}
            dir="auto"
            value={state.suffix}
            onChange={(event) => onChange({ suffix: event.target.value })}
          />
        </>
      }
    />
  );
}
