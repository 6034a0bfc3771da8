import { useMutation } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { send } from "../api/client";
import { Button, IconButton } from "../ui/Button";
import { Dot } from "../ui/Dot";
import { Field } from "../ui/Field";
import { Icon } from "../ui/Icon";
import type { Usage } from "./answer";
import { ModelSelect } from "./ModelSelect";
import { chosenModel, useModels } from "./models";
import { Columns, Failed, RunBar } from "./Parts";
import { type Body, DIMENSIONS, embeddingsRequest, numberProblem, type Problem } from "./request";
import { wordsOf } from "./run";
import { SimilarityTable } from "./SimilarityTable";
import { type EmbeddingsState, newKey, type Text } from "./state";
import { strings } from "./strings";

interface Props {
  state: EmbeddingsState;
  onChange: (change: Partial<EmbeddingsState>) => void;
  isShown: boolean;
}

interface Vectors {
  texts: string[];
  vectors: number[][];
  usage: Usage;
}

export function EmbeddingsTab({ state, onChange, isShown }: Props) {
  const models = useModels("embeddings");
  const [problems, setProblems] = useState<readonly Problem[]>([]);
  const aborter = useRef<AbortController | null>(null);
  const embed = useMutation({
    mutationFn: (body: Body) => {
      aborter.current = new AbortController();
      return vectorsOf(body, aborter.current.signal);
    },
  });

  const start = () => {
    const { body, problems: found } = embeddingsRequest({ ...state, model: chosenModel(state.model, models) });
    setProblems(found ?? []);
    if (body !== null) embed.mutate(body);
  };
  const isFailed = embed.error !== null && !aborter.current?.signal.aborted;
  const dimensionsProblem = numberProblem(state.dimensions, DIMENSIONS);

  return (
    <Columns
      main={
        <>
          <TextsList texts={state.texts} onChange={(texts) => onChange({ texts })} hasSkipTarget={isShown} />
          <RunBar
            isRunning={embed.isPending}
            onRun={start}
            onStop={() => aborter.current?.abort()}
            problems={problems}
          />
          <section aria-label={strings.embeddings.matrix} aria-busy={embed.isPending} className="flex flex-col gap-3">
            <h2 className="font-medium text-sm">{strings.embeddings.matrix}</h2>
            {isFailed && <Failed message={wordsOf(embed.error)} />}
            {embed.isPending && (
              <p className="text-soft text-sm">
                {strings.embeddings.running} <Dot />
              </p>
            )}
            {embed.isIdle && <p className="text-soft text-sm">{strings.embeddings.none}</p>}
            {embed.data && <Result vectors={embed.data} now={state.texts} />}
          </section>
        </>
      }
      side={
        <>
          <ModelSelect models={models} model={state.model} onChange={(model) => onChange({ model })} />
          <Field
            label={strings.embeddings.dimensions}
            hint={dimensionsProblem ?? strings.embeddings.dimensionsHint}
            inputMode="numeric"
            placeholder={strings.unset}
            aria-invalid={dimensionsProblem !== null}
            value={state.dimensions}
            onChange={(event) => onChange({ dimensions: event.target.value })}
          />
        </>
      }
    />
  );
}

async function vectorsOf(body: Body, signal: AbortSignal): Promise<Vectors> {
  const reply = await send("POST", "v1/embeddings", { body, signal });
  const { data, usage }: { data: { index: number; embedding: number[] }[]; usage: Usage } = await reply.json();
  const sorted = data.toSorted((one, other) => one.index - other.index);
  return { texts: body.input as string[], vectors: sorted.map(({ embedding }) => embedding), usage };
}

function Result({ vectors: { texts, vectors, usage }, now }: { vectors: Vectors; now: Text[] }) {
  const isStale = texts.length !== now.length || texts.some((text, at) => text !== now[at]?.text);
  return (
    <>
      <p role="status" className="flex flex-wrap gap-x-3 text-soft text-xs tabular-nums">
        <span>{strings.embeddings.size(vectors[0]?.length ?? 0, usage.total_tokens)}</span>
        {isStale && <span>{strings.embeddings.stale}</span>}
      </p>
      <SimilarityTable texts={texts} vectors={vectors} />
    </>
  );
}

interface TextsProps {
  texts: Text[];
  onChange: (texts: Text[]) => void;
  hasSkipTarget: boolean;
}

function TextsList({ texts, onChange, hasSkipTarget }: TextsProps) {
  const change = (key: string, text: string) =>
    onChange(texts.map((each) => (each.key === key ? { key, text } : each)));
  return (
    <section aria-label={strings.embeddings.texts} className="flex flex-col gap-3">
      <ol className="flex flex-col gap-2">
        {texts.map(({ key, text }, at) => (
          <li
            key={key}
            className="flex items-start gap-1 rounded-xl border border-line bg-raised p-1 focus-within:border-line-strong"
          >
            <span aria-hidden="true" className="w-6 pt-2 text-center text-soft text-sm tabular-nums">
              {at + 1}
            </span>
            <div className="grows max-h-60 flex-1 overflow-y-auto" data-text={text}>
              <textarea
                id={hasSkipTarget && at === texts.length - 1 ? "message" : undefined}
                rows={1}
                dir="auto"
                aria-label={strings.embeddings.text(at + 1)}
                value={text}
                onChange={(event) => change(key, event.target.value)}
                className="rounded-md bg-transparent outline-none"
              />
            </div>
            <IconButton
              label={strings.embeddings.remove(at + 1)}
              onClick={() => onChange(texts.filter((each) => each.key !== key))}
            >
              <Icon name="close" className="size-3.5" />
            </IconButton>
          </li>
        ))}
      </ol>
      <Button look="outline" className="self-start" onClick={() => onChange([...texts, { key: newKey(), text: "" }])}>
        <Icon name="plus" className="size-4" />
        {strings.embeddings.add}
      </Button>
    </section>
  );
}
