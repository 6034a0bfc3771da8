/** Has an answer made again, and says whether it is the same. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { modelsQuery } from "../../api/chats";
import { Button } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import { type Generation, type Receipt, type Rerun, type Run, runAgain } from "./api";
import { strings } from "./strings";

const say = strings.again;

export function RunAgain({ receipt }: { receipt: Receipt }) {
  const { data: models } = useQuery(modelsQuery);
  const [model, setModel] = useState("");
  const run = useMutation({ mutationFn: () => runAgain(receipt.id, model || undefined) });
  const others = models?.filter(({ id }) => id !== receipt.deployment) ?? [];
  return (
    <div className="flex flex-col gap-2 rounded-xl bg-panel px-3.5 py-3">
      <p className="text-sm text-soft">{say.text}</p>
      <div className="flex flex-wrap items-center gap-2">
        <Button look="primary" disabled={run.isPending} onClick={() => run.mutate()}>
          <Icon name="retry" className="size-4" />
          {run.isPending ? say.running : say.run}
        </Button>
        {others.length > 0 && (
          <label className="flex min-w-0 items-center gap-2 text-sm">
            {say.with}
            <select
              value={model}
              onChange={(event) => setModel(event.target.value)}
              className="min-h-9 min-w-0 max-w-full rounded-lg border border-line-strong bg-raised px-2"
            >
              <option value="">{say.same}</option>
              {others.map(({ id }) => (
                <option key={id}>{id}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      <div aria-live="polite" className="empty:hidden">
        {run.error && <Line look="bad" text={run.error.message} />}
        {run.data && !run.isPending && <Verdict rerun={run.data} receipt={receipt} />}
      </div>
    </div>
  );
}

function Verdict({ rerun, receipt }: { rerun: Rerun; receipt: Receipt }) {
  const isOther = rerun.deployment !== null;
  if (rerun.identical === true) return <Line look="good" text={isOther ? say.identicalText : say.identical} />;
  const different = rerun.runs.filter(({ identical }) => identical === false);
  const isRounded = rerun.consistent === true && !isOther;
  return (
    <div className="flex flex-col gap-2">
      {isRounded ? (
        <Line look="good" text={say.rounded} />
      ) : (
        <Line look="bad" text={rerun.identical === false ? say.differs : (rerun.why ?? say.unknown)} />
      )}
      {different.map((run) => (
        <Difference key={run.generation} run={run} made={receipt.generations[run.generation]} />
      ))}
      {different.length > 0 && !isOther && (
        <p className="text-soft text-sm">{rerun.consistent === false ? say.far : say.rounding}</p>
      )}
    </div>
  );
}

function Difference({ run, made }: { run: Run; made: Generation | undefined }) {
  return (
    <>
      {run.character !== null && <p className="text-sm">{say.place(run.character, run.token)}</p>}
      <dl className="grid grid-cols-1 gap-2 text-sm sm:grid-cols-2">
        <Text name={say.original} around={run.original} />
        <Text name={say.now} around={run.again} />
      </dl>
      {run.drawn_again !== null && made?.tokens != null && (
        <p className="text-sm">{say.drawn(run.drawn_again, made.tokens)}</p>
      )}
    </>
  );
}

function Text({ name, around }: { name: string; around: Run["original"] }) {
  if (around === null) return null;
  return (
    <div className="min-w-0 rounded-lg border border-line bg-raised px-3 py-2">
      <dt className="text-soft text-xs">{name}</dt>
      <dd dir="auto" className="whitespace-pre-wrap break-words">
        {around.before}
        <mark className="rounded bg-accent-soft text-accent">{around.after || say.end}</mark>
      </dd>
    </div>
  );
}

function Line({ look, text }: { look: "good" | "bad"; text: string }) {
  return (
    <p className={`flex items-start gap-1.5 font-medium text-sm ${look === "good" ? "text-good" : "text-danger"}`}>
      <Icon name={look === "good" ? "check" : "alert"} className="mt-0.5 size-4" />
      <span className="min-w-0 break-words">{text}</span>
    </p>
  );
}
