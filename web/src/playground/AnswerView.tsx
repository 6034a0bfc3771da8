/** An answer while it comes and once it is there: its text as it is, how it ended, and how long it took. */

import { lazy, type ReactNode, Suspense, useMemo, useState } from "react";
import type { Words as WordList } from "../chat/words";
import { IconButton } from "../ui/Button";
import { CopyButton } from "../ui/CopyButton";
import { Dot } from "../ui/Dot";
import { Icon } from "../ui/Icon";
import { type Answer, tokensPerSecond } from "./answer";
import { Failed } from "./Parts";
import { strings } from "./strings";

const WordsView = lazy(() => import("../chat/Words").then(({ WordsView }) => ({ default: WordsView })));

interface Props {
  answer: Answer | null;
  /** The answer word by word, if its probabilities were asked for. */
  words: ((answer: Answer) => WordList) | null;
  /** Lets the answer regrow; null where the API does not offer that. */
  onRegrow: ((prefix: string) => void) | null;
  children?: ReactNode;
}

export function AnswerView({ answer, words, onRegrow, children }: Props) {
  const [wantsWords, setWantsWords] = useState(true);
  const isRunning = answer !== null && answer.endedMs === null;
  // Word by word only once all are there: the list is made anew with each.
  const list = useMemo(() => (answer?.endedMs && words !== null ? words(answer) : null), [answer, words]);
  const hasWords = list !== null && list.words.length > 0;

  return (
    <section aria-label={strings.answer.title} aria-busy={isRunning} className="flex flex-col gap-3">
      <h2 className="font-medium text-sm">{strings.answer.title}</h2>
      <p role="status" className="sr-only">
        {answer && spoken(answer)}
      </p>
      {answer === null && <p className="text-soft text-sm">{strings.answer.none}</p>}
      {answer && (
        <div className="flex flex-col gap-3 rounded-xl border border-line bg-raised p-4">
          <Thoughts answer={answer} />
          {hasWords && wantsWords ? (
            <Suspense fallback={<Plain answer={answer} />}>
              <WordsView list={list} onRegrow={onRegrow} />
            </Suspense>
          ) : (
            <Plain answer={answer} />
          )}
          {children}
          {answer.error !== null && <Failed message={answer.error} />}
          <footer className="flex min-h-9 flex-wrap items-center gap-x-3 text-soft text-xs tabular-nums">
            {!isRunning && answer.text !== "" && (
              <span className="-ms-2 flex">
                <CopyButton label={strings.answer.copy} text={() => answer.text} />
                {hasWords && (
                  <IconButton
                    label={strings.answer.words}
                    aria-pressed={wantsWords}
                    onClick={() => setWantsWords(!wantsWords)}
                  >
                    <Icon name="words" className="size-4" />
                  </IconButton>
                )}
              </span>
            )}
            <Numbers answer={answer} />
          </footer>
        </div>
      )}
    </section>
  );
}

function spoken({ endedMs, isStopped, error }: Answer): string {
  // What has failed is an alert of its own.
  if (error !== null) return "";
  if (endedMs === null) return strings.answer.began;
  return isStopped ? strings.answer.stopped : strings.answer.ended;
}

function Thoughts({ answer: { reasoning, text } }: { answer: Answer }) {
  if (reasoning === "") return null;
  return (
    <details open={text === ""} className="text-soft text-sm">
      <summary className="cursor-pointer">{strings.answer.thoughts}</summary>
      <p dir="auto" className="whitespace-pre-wrap break-words">
        {reasoning}
      </p>
    </details>
  );
}

function Plain({ answer }: { answer: Answer }) {
  const { text, calls, endedMs, reasoning, error, isStopped } = answer;
  if (text !== "")
    return (
      <div dir="auto" className="whitespace-pre-wrap break-words leading-relaxed">
        {text}
      </div>
    );
  if (endedMs === null && reasoning === "" && calls.length === 0)
    return (
      <p className="text-soft text-sm">
        {strings.answer.waiting} <Dot />
      </p>
    );
  if (endedMs !== null && calls.length === 0 && error === null && !isStopped)
    return <p className="text-soft text-sm">{strings.answer.empty}</p>;
  return null;
}

function Numbers({ answer }: { answer: Answer }) {
  const { usage, firstMs, startedMs, endedMs, finish, isStopped } = answer;
  const perSecond = tokensPerSecond(answer);
  return (
    <>
      {isStopped && <span>{strings.answer.stopped}</span>}
      {finish !== null && <span>{strings.answer.finish(finish)}</span>}
      {usage && (
        <span>
          {strings.answer.tokens(
            usage.prompt_tokens,
            usage.prompt_tokens_details?.cached_tokens ?? 0,
            usage.completion_tokens ?? 0,
          )}
        </span>
      )}
      {firstMs !== null && <span>{strings.answer.first(Math.round(firstMs - startedMs))}</span>}
      {perSecond !== null && <span>{strings.answer.speed(perSecond)}</span>}
      {endedMs !== null && <span>{strings.answer.total(endedMs - startedMs)}</span>}
    </>
  );
}
