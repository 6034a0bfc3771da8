/** A question and its answer, and what can be done with them. */

import { lazy, memo, Suspense, useState } from "react";
import type { Turn } from "../api/types";
import { strings } from "../strings";
import { IconButton } from "../ui/Button";
import { CopyButton } from "../ui/CopyButton";
import { Confirm } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { Menu, MenuItem } from "../ui/Menu";
import { Answer } from "./Answer";
import type { Actions } from "./actions";
import { useIsCut } from "./cut";
import { answerText, hasWords } from "./items";
import { Question } from "./Question";
import { isActive } from "./reduce";
import { type TurnStore, useTurn } from "./store";

const ReceiptDialog = lazy(() => import("./receipt/ReceiptDialog"));

interface Props {
  store: TurnStore;
  id: string;
  siblings: readonly string[];
  actions: Actions;
}

export const TurnView = memo(function TurnView({ store, id, siblings, actions }: Props) {
  const turn = useTurn(store, id);
  const [showsWords, setShowsWords] = useState(false);
  const isCut = useIsCut(store, turn);
  if (turn === undefined) return null;
  const text = answerText(turn);
  const toggleWords = async () => {
    if (showsWords || hasWords(turn) || (await actions.fetchWords(turn))) setShowsWords(!showsWords);
  };
  return (
    <article className="group mx-auto flex max-w-3xl flex-col gap-2 px-4 py-3 sm:px-6">
      {isCut && (
        <p className="flex items-center gap-1.5 self-center border-line border-b border-dashed text-soft text-xs">
          <Icon name="gauge" className="size-3.5" />
          {strings.turn.leftOut}
        </p>
      )}
      <Question input={turn.input} previous={turn.previous} onEdit={actions.ask} />
      <Answer turn={turn} showsWords={showsWords} onRetry={(prefix) => actions.retry(turn, prefix)} />
      <footer className="-ms-2 flex min-h-9 flex-wrap items-center text-soft">
        {siblings.length > 1 && <Versions id={id} siblings={siblings} onShow={actions.show} />}
        {!isActive(turn.status) && (
          <>
            <div className="flex items-center transition-opacity group-focus-within:opacity-100 group-hover:opacity-100 pointer-fine:opacity-60">
              {text !== "" && <CopyButton label={strings.turn.copy} text={() => text} />}
              <IconButton label={strings.turn.retry} onClick={() => actions.retry(turn)}>
                <Icon name="retry" className="size-4" />
              </IconButton>
              {text !== "" && hasBrokenOff(turn) && (
                <IconButton label={strings.turn.continue} onClick={() => actions.retry(turn, text)}>
                  <Icon name="continue" className="size-4" />
                </IconButton>
              )}
              {text !== "" && (
                <IconButton label={strings.turn.words} aria-pressed={showsWords} onClick={() => void toggleWords()}>
                  <Icon name="words" className="size-4" />
                </IconButton>
              )}
              <MoreMenu turn={turn} actions={actions} />
            </div>
            <UsageNote turn={turn} />
          </>
        )}
      </footer>
    </article>
  );
});

/** Whether the answer broke off. */
function hasBrokenOff({ status, incomplete_details }: Turn): boolean {
  return status === "cancelled" || status === "failed" || incomplete_details?.reason === "max_output_tokens";
}

function Versions({ id, siblings, onShow }: Pick<Props, "id" | "siblings"> & { onShow: (turn: string) => void }) {
  const at = siblings.indexOf(id);
  const before = siblings[at - 1];
  const after = siblings[at + 1];
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms.
    <div role="group" aria-label={strings.turn.versions} className="me-2 flex items-center text-sm tabular-nums">
      <IconButton
        label={strings.turn.previousVersion}
        disabled={before === undefined}
        onClick={() => before && onShow(before)}
      >
        <Icon name="chevronStart" className="size-4" />
      </IconButton>
      {strings.turn.version(at + 1, siblings.length)}
      <IconButton
        label={strings.turn.nextVersion}
        disabled={after === undefined}
        onClick={() => after && onShow(after)}
      >
        <Icon name="chevronEnd" className="size-4" />
      </IconButton>
    </div>
  );
}

function MoreMenu({ turn, actions }: { turn: Turn; actions: Actions }) {
  const [asksToDelete, setAsksToDelete] = useState(false);
  const [showsReceipt, setShowsReceipt] = useState(false);
  const trigger = (
    <IconButton label={strings.turn.more}>
      <Icon name="dots" className="size-4" />
    </IconButton>
  );
  return (
    <>
      <Menu trigger={trigger}>
        <MenuItem icon={<Icon name="fork" className="size-4" />} onSelect={() => actions.fork(turn)}>
          {strings.turn.fork}
        </MenuItem>
        <MenuItem icon={<Icon name="receipt" className="size-4" />} onSelect={() => setShowsReceipt(true)}>
          {strings.turn.receipt}
        </MenuItem>
        <MenuItem icon={<Icon name="trash" className="size-4" />} onSelect={() => setAsksToDelete(true)}>
          {strings.turn.delete}
        </MenuItem>
      </Menu>
      {showsReceipt && (
        <Suspense>
          <ReceiptDialog id={turn.id} onClose={() => setShowsReceipt(false)} />
        </Suspense>
      )}
      {asksToDelete && (
        <Confirm
          title={strings.turn.deleteTitle}
          text={strings.turn.deleteText}
          onConfirm={() => actions.remove(turn)}
          onClose={() => setAsksToDelete(false)}
        />
      )}
    </>
  );
}

function UsageNote({ turn: { usage, model, created_at, completed_at } }: { turn: Turn }) {
  const { input_tokens: read = 0, input_tokens_details: details, output_tokens: written = 0 } = usage ?? {};
  const seconds = completed_at ? completed_at - created_at : null;
  return (
    <p className="ms-auto flex flex-wrap gap-x-3 ps-2 text-xs tabular-nums">
      <span className="break-all">{model}</span>
      {usage && (
        <span title={strings.turn.usageTitle(read, details?.cached_tokens ?? 0, written)}>
          {strings.turn.usage(read, written)}
        </span>
      )}
      {seconds !== null && <span>{strings.turn.seconds(seconds)}</span>}
    </p>
  );
}
