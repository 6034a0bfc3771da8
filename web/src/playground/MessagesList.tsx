/** The messages of a chat, each of which can be rewritten, moved and removed. */

import type { KeyboardEvent } from "react";
import { Button, IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { type Message, newKey, ROLES, type Role } from "./state";
import { strings } from "./strings";

interface Props {
  messages: Message[];
  onChange: (messages: Message[]) => void;
  onRun: () => void;
  /** Whether the last one is what the link to the message box leads to. */
  hasSkipTarget: boolean;
}

export function MessagesList({ messages, onChange, onRun, hasSkipTarget }: Props) {
  const change = (at: number, update: Partial<Message>) =>
    onChange(messages.map((message, index) => (index === at ? { ...message, ...update } : message)));
  const move = (at: number, to: number) => {
    const moved = [...messages];
    moved.splice(to, 0, ...moved.splice(at, 1));
    onChange(moved);
  };
  const add = () => {
    const role = messages.at(-1)?.role === "user" ? "assistant" : "user";
    onChange([...messages, { key: newKey(), role, content: "" }]);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    onRun();
  };

  return (
    <section aria-label={strings.messages.title} className="flex flex-col gap-3">
      <ol className="flex flex-col gap-2.5">
        {messages.map((message, at) => (
          <li
            key={message.key}
            className="rounded-xl border border-line bg-raised p-1.5 focus-within:border-line-strong"
          >
            <Head
              message={message}
              at={at}
              isLast={at === messages.length - 1}
              onRole={(role) => change(at, { role })}
              onMove={(to) => move(at, to)}
              onRemove={() => onChange(messages.filter((_, index) => index !== at))}
            />
            <Calls message={message} />
            <div className="grows max-h-[50dvh] overflow-y-auto" data-text={message.content}>
              <textarea
                id={hasSkipTarget && at === messages.length - 1 ? "message" : undefined}
                rows={1}
                dir="auto"
                aria-label={strings.messages.content(roleName(message, messages), at + 1)}
                placeholder={message.role === "tool" ? "" : strings.messages.placeholder[message.role]}
                value={message.content}
                onChange={(event) => change(at, { content: event.target.value })}
                onKeyDown={onKeyDown}
                className="rounded-md bg-transparent outline-none placeholder:text-soft"
              />
            </div>
          </li>
        ))}
      </ol>
      <div className="flex items-center gap-3">
        <Button look="outline" onClick={add}>
          <Icon name="plus" className="size-4" />
          {strings.messages.add}
        </Button>
        <span className="text-soft text-xs pointer-coarse:hidden">{strings.messages.hint}</span>
      </div>
    </section>
  );
}

/** A result has the name of what it is the result of. */
function roleName({ role, callId }: Message, messages: Message[]): string {
  if (role !== "tool") return strings.messages.roles[role];
  const call = messages.flatMap(({ calls }) => calls ?? []).find(({ id }) => id === callId);
  return strings.messages.resultOf(call?.name ?? "?");
}

interface HeadProps {
  message: Message;
  at: number;
  isLast: boolean;
  onRole: (role: Role) => void;
  onMove: (to: number) => void;
  onRemove: () => void;
}

function Head({ message, at, isLast, onRole, onMove, onRemove }: HeadProps) {
  const choose = (chosen: string) => {
    const role = ROLES.find((each) => each === chosen);
    if (role) onRole(role);
  };
  const isFixed = message.role === "tool" || (message.calls?.length ?? 0) > 0;
  return (
    <div className="flex items-center">
      {isFixed ? (
        <span className="px-2 font-medium text-soft text-xs">{strings.messages.roles[message.role]}</span>
      ) : (
        <select
          aria-label={strings.messages.role(at + 1)}
          value={message.role}
          onChange={(event) => choose(event.target.value)}
          className="min-h-8 rounded-md bg-transparent px-1 font-medium text-soft text-xs hover:bg-hover"
        >
          {ROLES.map((role) => (
            <option key={role} value={role} className="bg-raised text-ink">
              {strings.messages.roles[role]}
            </option>
          ))}
        </select>
      )}
      <span className="flex-1" />
      <IconButton
        label={strings.messages.up(at + 1)}
        disabled={at === 0}
        onClick={() => onMove(at - 1)}
        className="size-8!"
      >
        <Icon name="arrowUp" className="size-3.5" />
      </IconButton>
      <IconButton
        label={strings.messages.down(at + 1)}
        disabled={isLast}
        onClick={() => onMove(at + 1)}
        className="size-8!"
      >
        <Icon name="arrowDown" className="size-3.5" />
      </IconButton>
      <IconButton label={strings.messages.remove(at + 1)} onClick={onRemove} className="size-8!">
        <Icon name="close" className="size-3.5" />
      </IconButton>
    </div>
  );
}

function Calls({ message: { calls = [] } }: { message: Message }) {
  return calls.map((call) => (
    <code key={call.id} dir="ltr" className="block break-words px-2 py-1 font-mono text-xs">
      {call.name}({call.arguments})
    </code>
  ));
}
