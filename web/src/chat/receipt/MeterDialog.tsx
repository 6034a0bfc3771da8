/** What an answer was made from, message by message. */

import { Dialog } from "../../ui/Dialog";
import type { Context, ContextMessage } from "./api";
import { strings } from "./strings";

const say = strings.meter;

interface Props {
  context: Context;
  used: number;
  most: number;
  onClose: () => void;
}

export function MeterDialog({ context, used, most, onClose }: Props) {
  const { prompt_tokens, template_tokens, cached_tokens, left_out, is_exact, messages } = context;
  const read = prompt_tokens ?? 0;
  return (
    <Dialog title={say.title} place="end" onClose={onClose}>
      {() => (
        <>
          <p className="text-soft text-sm">{say.intro}</p>
          <div>
            <p className="mb-1 font-medium text-sm tabular-nums">{say.used(used, most)}</p>
            <div aria-hidden="true" className="flex h-2.5 overflow-hidden rounded-full bg-hover">
              <Share tokens={cached_tokens ?? 0} most={most} look="bg-brass" />
              <Share tokens={read - (cached_tokens ?? 0)} most={most} look="bg-accent" />
              <Share tokens={used - read} most={most} look="bg-good" />
            </div>
          </div>
          <dl className="grid grid-cols-[1fr_auto] gap-x-4 gap-y-1 text-sm tabular-nums">
            <Row name={say.prompt} tokens={read} look="bg-accent" />
            <Row name={say.cached} tokens={cached_tokens} look="bg-brass" />
            <Row name={say.answer} tokens={used - read} look="bg-good" />
            <Row name={say.free} tokens={Math.max(most - used, 0)} look="bg-hover ring-1 ring-line-strong" />
          </dl>
          {left_out > 0 && (
            <p className="rounded-xl bg-danger-soft px-3.5 py-2 text-danger text-sm">{say.leftOut(left_out)}</p>
          )}
          {!is_exact && <p className="rounded-xl bg-panel px-3.5 py-2 text-soft text-sm">{say.inexact}</p>}
          <ol className="flex flex-col">
            {messages.map((message, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: what a model saw is in order, and does not change.
              <Message key={at} message={message} />
            ))}
            {template_tokens !== null && (
              <li className="flex justify-between gap-3 border-line border-t py-2 text-sm">
                <span>{say.template}</span>
                <span className="shrink-0 text-soft tabular-nums">{strings.tokens(template_tokens)}</span>
              </li>
            )}
          </ol>
        </>
      )}
    </Dialog>
  );
}

function Share({ tokens, most, look }: { tokens: number; most: number; look: string }) {
  return <span className={look} style={{ width: `${(Math.max(tokens, 0) / most) * 100}%` }} />;
}

function Row({ name, tokens, look }: { name: string; tokens: number | null; look: string }) {
  return (
    <>
      <dt className="flex items-center gap-2">
        <span aria-hidden="true" className={`size-2.5 shrink-0 rounded-full ${look}`} />
        {name}
      </dt>
      <dd className="text-end">{tokens === null ? "–" : strings.tokens(tokens)}</dd>
    </>
  );
}

function Message({ message }: { message: ContextMessage }) {
  const { role, beginning, state, tokens } = message;
  return (
    <li className="border-line border-t py-2 text-sm">
      <p className="flex justify-between gap-3">
        <span className="font-medium">{say.roles[role] ?? role}</span>
        <span className="shrink-0 text-soft tabular-nums">{tokens === null ? "" : strings.tokens(tokens)}</span>
      </p>
      <p dir="auto" className={`line-clamp-2 break-words ${state === "left_out" ? "text-soft line-through" : ""}`}>
        {beginning || say.empty}
      </p>
      <p className={state === "left_out" ? "text-danger text-xs" : "text-soft text-xs"}>{stateOf(message)}</p>
    </li>
  );
}

function stateOf({ state, cached_tokens }: ContextMessage): string {
  return state === "seen" && cached_tokens ? say.partly(cached_tokens) : say.states[state];
}
