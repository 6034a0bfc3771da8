/** How much of the model's context a conversation takes: a bar, which opens to what the last answer was made from. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { Turn } from "../../api/types";
import { partsOf } from "../items";
import { isActive } from "../reduce";
import { type TurnStore, useTurn } from "../store";
import { type Context, contextQuery } from "./api";
import { MeterDialog } from "./MeterDialog";
import { strings } from "./strings";

const say = strings.meter;
/** From here on it is told in a colour that little room is left. */
const NEARLY_FULL = 0.9;

export default function ContextMeter({ store, last }: { store: TurnStore; last: string }) {
  const turn = useTurn(store, last);
  const { data: context } = useQuery(contextQuery(last, turn?.status));
  const [isOpen, setIsOpen] = useState(false);
  useEffect(() => store.cut.set(context ? itemsLeftOut(context) : []), [store, context]);

  const most = context?.context_length;
  if (!turn || !context || !most) return null;
  const used = (context.prompt_tokens ?? 0) + (context.answer_tokens ?? writtenSoFar(turn));
  const share = Math.min(used / most, 1);
  return (
    <>
      <button
        type="button"
        title={say.used(used, most)}
        aria-label={`${say.label}: ${say.used(used, most)}, ${say.share(share)}`}
        aria-haspopup="dialog"
        onClick={() => setIsOpen(true)}
        className="flex min-h-9 shrink-0 items-center gap-1.5 rounded-lg px-2 text-soft text-xs tabular-nums hover:bg-hover hover:text-ink"
      >
        <span
          aria-hidden="true"
          className="h-1.5 w-10 overflow-hidden rounded-full bg-hover ring-1 ring-line-strong sm:w-14"
        >
          <span
            className={`block h-full ${share >= NEARLY_FULL ? "bg-danger" : "bg-accent"}`}
            style={{ width: `${share * 100}%` }}
          />
        </span>
        <span aria-hidden="true" className="max-sm:hidden">
          {say.share(share)}
        </span>
      </button>
      {isOpen && <MeterDialog context={context} used={used} most={most} onClose={() => setIsOpen(false)} />}
    </>
  );
}

function itemsLeftOut({ messages }: Context): string[] {
  return messages.flatMap(({ state, items }) => (state === "left_out" ? items : []));
}

/** Each token comes with its probability, so that counting those is no estimate. */
function writtenSoFar({ output, status }: Turn): number {
  if (!isActive(status)) return 0;
  return output.flatMap(partsOf).reduce((sum, { logprobs = [] }) => sum + logprobs.length, 0);
}
