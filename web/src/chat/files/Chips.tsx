/** The files of a chat, above the field in which it is asked about them. */

import { useSyncExternalStore } from "react";
import { IconButton } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import type { Attachment, Shelf } from "./shelf";
import { strings } from "./strings";

export default function Chips({ shelf }: { shelf: Shelf }) {
  const files = useSyncExternalStore(shelf.subscribe, shelf.files);
  if (files.length === 0) return null;
  return (
    <ul
      aria-label={strings.files}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach.
      tabIndex={0}
      className="mb-1.5 flex max-h-32 flex-wrap gap-1.5 overflow-y-auto"
    >
      {files.map((file) => (
        <Chip key={file.key} file={file} onRemove={() => void shelf.remove(file.key)} />
      ))}
    </ul>
  );
}

function Chip({ file, onRemove }: { file: Attachment; onRemove: () => void }) {
  const { name, state, sent, problem } = file;
  const isWaiting = state === "sending" || state === "reading";
  return (
    <li className="flex min-w-0 max-w-full items-center gap-2 rounded-lg border border-line bg-panel ps-2.5 text-sm">
      <Icon
        name={state === "failed" ? "alert" : state === "ready" ? "check" : "upload"}
        className={`size-4 ${state === "failed" ? "text-danger" : isWaiting ? "pulse text-soft" : "text-good"}`}
      />
      <span className="min-w-0 py-1">
        <span className="block truncate" dir="auto" title={name}>
          {name}
        </span>
        <span
          role="status"
          className={`block text-xs ${state === "failed" ? "text-danger" : state === "ready" ? "sr-only" : "text-soft"}`}
        >
          {state === "sending" ? strings.states.sending(sent) : problem || strings.states[state]}
        </span>
        {state === "sending" && (
          <progress aria-label={strings.states.sending(sent)} value={sent} className="h-1 w-full" />
        )}
      </span>
      <IconButton label={strings.remove(name)} onClick={onRemove}>
        <Icon name="close" className="size-4" />
      </IconButton>
    </li>
  );
}
