/** Where questions are written. What is typed stays in here, so that a keystroke renders nothing else. */

import {
  type ClipboardEvent,
  type KeyboardEvent,
  lazy,
  type ReactNode,
  Suspense,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { strings } from "../strings";
import { IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { AttachButton, useDropped } from "./files/Attach";
import type { Shelf } from "./files/shelf";

const Chips = lazy(() => import("./files/Chips"));

interface Props {
  /** What the draft is kept under until the tab is closed. */
  draftKey: string;
  /** Whether there is something to send to. */
  isReady: boolean;
  /** Stops the answer that is being made, if one is. */
  onStop?: (() => void) | undefined;
  /** Whether it was sent; if not, the text stays. */
  onSend: (text: string) => Promise<boolean>;
  problem: string | null;
  /** The files that go with all questions of the chat. */
  shelf: Shelf;
  /** Choices that go with the question. */
  children: ReactNode;
}

export function Composer({ draftKey, isReady, onStop, onSend, problem, shelf, children }: Props) {
  const [text, setText] = useState(() => sessionStorage.getItem(draftKey) ?? "");
  const [isSending, setIsSending] = useState(false);
  const hasFiles = useSyncExternalStore(shelf.subscribe, shelf.hasFiles);
  const isBusy = useSyncExternalStore(shelf.subscribe, shelf.isBusy);
  const isDropping = useDropped((files) => shelf.add(files));
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    // On a touch screen the keyboard would cover what is to be read first.
    if (!isTouched()) field.current?.focus();
  }, []);

  const write = (draft: string) => {
    setText(draft);
    sessionStorage.setItem(draftKey, draft);
  };
  const canSend = isReady && !isBusy && !isSending && onStop === undefined && text.trim() !== "";
  const submit = async () => {
    if (!canSend) return;
    setIsSending(true);
    if (await onSend(text.trim())) write("");
    setIsSending(false);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While a word is being composed, Enter chooses among its spellings. On a touch screen there is no Shift to hold.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing || isTouched()) return;
    event.preventDefault();
    void submit();
  };

  const onPaste = (event: ClipboardEvent) => {
    const { files, types } = event.clipboardData;
    // Copied text of some programs comes with a picture of itself.
    if (files.length === 0 || types.includes("text/plain")) return;
    event.preventDefault();
    shelf.add(files);
  };

  return (
    <form
      onSubmit={(event) => {
        // React tells of the forms of dialogs that were opened from here, too.
        if (event.target !== event.currentTarget) return;
        event.preventDefault();
        void submit();
      }}
      className="mx-auto w-full max-w-3xl px-3 pb-3 sm:px-4 sm:pb-4"
    >
      <p role="alert" className="mb-2 rounded-lg bg-danger-soft px-3 py-2 text-danger text-sm empty:hidden">
        {problem}
      </p>
      {hasFiles && (
        <Suspense>
          <Chips shelf={shelf} />
        </Suspense>
      )}
      <div
        className={`rounded-2xl border bg-raised p-1.5 shadow-sm focus-within:border-accent ${isDropping ? "border-accent border-dashed" : "border-line-strong"}`}
      >
        <div className="grows max-h-[40dvh] overflow-y-auto" data-text={text}>
          <textarea
            id="message"
            ref={field}
            rows={1}
            dir="auto"
            aria-label={strings.composer.label}
            placeholder={strings.composer.placeholder}
            value={text}
            onChange={(event) => write(event.target.value)}
            onKeyDown={onKeyDown}
            onPaste={onPaste}
            className="bg-transparent outline-none placeholder:text-soft"
          />
        </div>
        <div className="flex items-center gap-1">
          <AttachButton onFiles={(files) => shelf.add(files)} />
          {children}
          <span className="min-w-0 flex-1 truncate ps-1 text-end text-soft text-xs">
            {hasFiles && isBusy && strings.composer.filesBusy}
          </span>
          {onStop ? (
            <IconButton label={strings.composer.stop} look="soft" onClick={onStop}>
              <Icon name="stop" />
            </IconButton>
          ) : (
            <IconButton label={strings.composer.send} type="submit" disabled={!canSend} look="primary">
              <Icon name="arrowUp" />
            </IconButton>
          )}
        </div>
      </div>
    </form>
  );
}

function isTouched(): boolean {
  return matchMedia("(pointer: coarse)").matches;
}
