/** How an answer was made. Loaded when it is first asked for. */

import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Button } from "../../ui/Button";
import { CopyButton } from "../../ui/CopyButton";
import { Dialog } from "../../ui/Dialog";
import { downloadJson } from "../../ui/download";
import { Icon } from "../../ui/Icon";
import { type Receipt, receiptQuery } from "./api";
import { Facts } from "./Facts";
import { RunAgain } from "./RunAgain";
import { Sources } from "./Sources";
import { strings } from "./strings";

export default function ReceiptDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const { data, error } = useQuery(receiptQuery(id));
  return (
    <Dialog title={strings.title} place="wide" onClose={onClose}>
      {() =>
        data ? (
          <Content receipt={data.receipt} json={data.text} />
        ) : (
          <p role={error ? "alert" : "status"} className={error ? "text-danger" : "text-soft"}>
            {error?.message ?? strings.loading}
          </p>
        )
      }
    </Dialog>
  );
}

function Content({ receipt, json }: { receipt: Receipt; json: string }) {
  const { generations, sources, unknown, altered } = receipt;
  const isOneOfMany = generations.length > 1;
  return (
    <>
      <div className="flex flex-wrap items-center justify-between gap-2">
        <p className="text-soft text-sm">{strings.intro}</p>
        <div className="flex items-center gap-1">
          <CopyButton label={strings.copy} text={() => json} />
          <Button look="outline" onClick={() => downloadJson(strings.fileName(receipt.id), json)}>
            <Icon name="download" className="size-4" />
            {strings.download}
          </Button>
        </div>
      </div>
      <Lines title={strings.alteredTitle} lines={altered} isProblem />
      <Lines title={strings.unknownTitle} lines={unknown} />
      <RunAgain receipt={receipt} />
      {generations.map((made, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: what is written down is in order, and does not change.
        <section key={at} className="flex min-w-0 flex-col gap-4">
          {isOneOfMany && <h3 className="font-semibold">{strings.generation(at + 1, generations.length)}</h3>}
          <Section title={strings.facts.title} isInner={isOneOfMany}>
            <Facts receipt={receipt} made={made} />
          </Section>
          {made.prompt && (
            <Section title={strings.prompt.title} isInner={isOneOfMany}>
              <pre
                // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach.
                tabIndex={0}
                dir="auto"
                className="max-h-72 overflow-y-auto whitespace-pre-wrap break-words rounded-xl bg-panel p-3 font-mono text-xs"
              >
                {made.prompt.text}
              </pre>
            </Section>
          )}
        </section>
      ))}
      {sources.length > 0 && (
        <Section title={strings.sources.title}>
          <Sources sources={sources} />
        </Section>
      )}
    </>
  );
}

function Section({ title, isInner = false, children }: { title: string; isInner?: boolean; children: ReactNode }) {
  const Heading = isInner ? "h4" : "h3";
  return (
    <div className="flex min-w-0 flex-col gap-1.5">
      <Heading className="font-medium text-sm">{title}</Heading>
      {children}
    </div>
  );
}

function Lines({ title, lines, isProblem = false }: { title: string; lines: string[]; isProblem?: boolean }) {
  if (lines.length === 0) return null;
  return (
    <div
      className={`rounded-xl px-3.5 py-2 text-sm ${isProblem ? "bg-danger-soft text-danger" : "bg-panel text-soft"}`}
      role={isProblem ? "alert" : undefined}
    >
      <p className="font-medium">{title}</p>
      <ul className="list-disc ps-5">
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </div>
  );
}
