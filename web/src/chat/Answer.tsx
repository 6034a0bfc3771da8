/** What the model has made of a question so far: text, thoughts, tools, and why it ended if not by itself. */

import { lazy, memo, Suspense, useMemo } from "react";
import type { Item, Part, Passage, Turn } from "../api/types";
import { Markdown } from "../markdown/Markdown";
import { strings } from "../strings";
import { Button } from "../ui/Button";
import { Dot } from "../ui/Dot";
import { Icon } from "../ui/Icon";
import { passagesOf } from "./files/cite";
import { partsOf, thoughtText } from "./items";
import { isActive } from "./reduce";

const Cited = lazy(() => import("./files/Cited"));
const Words = lazy(() => import("./Words"));

interface Props {
  turn: Turn;
  showsWords: boolean;
  /** Have another answer made, which begins with `prefix`; absent where one only reads. */
  onRetry?: (prefix?: string) => void;
}

export function Answer({ turn, showsWords, onRetry }: Props) {
  const active = isActive(turn.status);
  const passages = useMemo(() => passagesOf(turn.output), [turn.output]);
  return (
    <div className="flex flex-col gap-3" aria-busy={active}>
      <p className="sr-only">{turn.model}:</p>
      {turn.output.map((item, index) => {
        const key = item.id ?? index;
        if (item.type === "reasoning") {
          return <Thought key={key} item={item} isGrowing={active && index === turn.output.length - 1} />;
        }
        if (item.type === "file_search_call") {
          return (
            <Note key={key} icon="search">
              {searchText(item)}
            </Note>
          );
        }
        if (item.type !== "message") return <Note key={key}>{strings.turn.tool(item.type)}</Note>;
        return partsOf(item).map((part, place) => (
          <MessagePart
            // biome-ignore lint/suspicious/noArrayIndexKey: parts are only ever added at the end.
            key={`${key}.${place}`}
            part={part}
            passages={passages}
            showsWords={showsWords}
            {...(onRetry && { onRetry })}
          />
        ));
      })}
      {active ? <Waiting turn={turn} /> : <Ending turn={turn} {...(onRetry && { onRetry })} />}
    </div>
  );
}

interface PartProps extends Omit<Props, "turn"> {
  part: Part;
  passages: Passage[];
}

function MessagePart({ part, passages, showsWords, onRetry }: PartProps) {
  if (part.refusal !== undefined) return <Note>{part.refusal}</Note>;
  const { text = "" } = part;
  if (!showsWords || !onRetry || !part.logprobs?.length) {
    if (!part.annotations?.length) return <Markdown text={text} />;
    return (
      <Suspense fallback={<Markdown text={text} />}>
        <Cited text={text} annotations={part.annotations} passages={passages} />
      </Suspense>
    );
  }
  return (
    <Suspense fallback={<p className="whitespace-pre-wrap">{text}</p>}>
      <Words part={part} onRegrow={onRetry} />
    </Suspense>
  );
}

function searchText({ queries = [] }: Item): string {
  return strings.turn.searched(queries.map((query) => `“${query}”`).join(", "));
}

const Thought = memo(function Thought({ item, isGrowing }: { item: Item; isGrowing: boolean }) {
  const text = thoughtText(item);
  if (text === "") return null;
  return (
    <details className="rounded-xl border border-line px-4 py-2 text-soft">
      <summary className="cursor-pointer font-medium text-sm">
        {isGrowing ? strings.turn.thinking : strings.turn.thought} {isGrowing && <Dot />}
      </summary>
      <div className="py-2 text-[0.925rem]">
        <Markdown text={text} />
      </div>
    </details>
  );
});

/** The words of a wait before there is an answer; a dot for as long as it grows. */
function Waiting({ turn }: { turn: Turn }) {
  if (turn.output.length > 0) return <Dot />;
  return (
    <p className="text-soft">
      {turn.status === "queued" ? strings.turn.queued : strings.turn.waiting} <Dot />
    </p>
  );
}

/** Why an answer that is over is not whole. */
function Ending({ turn, onRetry }: Pick<Props, "turn" | "onRetry">) {
  if (turn.status === "completed") return null;
  if (turn.status === "cancelled") return <Note>{strings.turn.stopped}</Note>;
  if (turn.status === "incomplete") return <Note>{whyIncomplete(turn.incomplete_details?.reason)}</Note>;
  return (
    <>
      <Note isProblem>{turn.error?.message || strings.turn.failed}</Note>
      {onRetry && (
        <Button look="outline" className="self-start" onClick={() => onRetry()}>
          {strings.actions.retry}
        </Button>
      )}
    </>
  );
}

function whyIncomplete(reason: string | undefined): string {
  if (reason === "max_output_tokens") return strings.turn.cut;
  return reason === "content_filter" ? strings.turn.filtered : strings.turn.incomplete;
}

interface NoteProps {
  children: string;
  isProblem?: boolean;
  icon?: "alert" | "search";
}

function Note({ children, isProblem = false, icon = "alert" }: NoteProps) {
  return (
    <p
      className={`flex items-start gap-2 rounded-xl px-3.5 py-2 text-sm ${isProblem ? "bg-danger-soft text-danger" : "bg-panel text-soft"}`}
      dir="auto"
    >
      <Icon name={icon} className="mt-0.5 size-4" />
      <span className="min-w-0 whitespace-pre-wrap break-words">{children}</span>
    </p>
  );
}
