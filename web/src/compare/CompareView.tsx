/** One question and the answers of two, side by side; one below the other where there is no room. */

import { useMemo } from "react";
import type { Compared, Turn } from "../api/types";
import { Answer } from "../chat/Answer";
import type { Actions } from "../chat/actions";
import { answerText } from "../chat/items";
import { Question } from "../chat/Question";
import { isActive } from "../chat/reduce";
import { type TurnStore, useTurn } from "../chat/store";
import { strings as shared } from "../strings";
import { Button } from "../ui/Button";
import { CopyButton } from "../ui/CopyButton";
import { Icon } from "../ui/Icon";
import { stopwatch } from "./pace";
import { strings } from "./strings";

export interface Props {
  store: TurnStore;
  pair: Compared[];
  actions: Actions;
}

export default function CompareView({ store, pair, actions }: Props) {
  const question = useTurn(store, pair[0]?.id);
  if (question === undefined) return null;
  return (
    <article className="@container mx-auto flex max-w-6xl flex-col gap-3 px-4 py-3 sm:px-6">
      <div className="mx-auto w-full max-w-3xl">
        <Question input={question.input} previous={question.previous} onEdit={actions.ask} />
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms. */}
      <div role="group" aria-label={strings.answers} className="grid items-start gap-4 @2xl:grid-cols-2">
        {pair.map((each) => (
          <Column key={each.id} store={store} {...each} onPick={() => actions.pick(each.id)} />
        ))}
      </div>
      <p className="text-center text-soft text-sm">{strings.choose}</p>
    </article>
  );
}

interface ColumnProps extends Compared {
  store: TurnStore;
  onPick: () => void;
}

function Column({ store, id, label, onPick }: ColumnProps) {
  const turn = useTurn(store, id);
  // With the words that it counts, and not after they are painted. Noting the same turn twice changes nothing.
  useMemo(() => turn && stopwatch.note(turn, performance.now()), [turn]);
  if (turn === undefined) return null;
  const text = answerText(turn);
  const isOver = !isActive(turn.status);
  return (
    <section aria-label={label} className="flex min-w-0 flex-col gap-3 rounded-2xl border border-line p-4">
      <h2 className="break-words font-medium text-sm" dir="auto">
        {label}
      </h2>
      <Answer turn={turn} showsWords={false} />
      <footer className="flex min-h-9 flex-wrap items-center gap-2 border-line border-t pt-3">
        <Numbers turn={turn} />
        {isOver && (
          <span className="ms-auto flex items-center gap-1">
            {text !== "" && <CopyButton label={shared.turn.copy} text={() => text} />}
            <Button look="outline" aria-label={strings.goOnWith(label)} onClick={onPick}>
              <Icon name="check" className="size-4" />
              {strings.goOn}
            </Button>
          </span>
        )}
      </footer>
    </section>
  );
}

function Numbers({ turn }: { turn: Turn }) {
  const pace = stopwatch.pace(turn);
  if (pace === null) return null;
  return (
    <p
      className="flex flex-wrap gap-x-3 text-soft text-xs tabular-nums"
      title={pace.isExact ? undefined : strings.roughly}
    >
      <span>{strings.tokens(pace.numTokens)}</span>
      {pace.seconds !== null && <span>{strings.seconds(pace.seconds)}</span>}
      {pace.speed !== null && <span>{strings.speed(pace.speed)}</span>}
    </p>
  );
}
