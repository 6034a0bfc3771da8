/** Where questions are written. What is typed stays in here, so that a keystroke renders nothing else. */

import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { strings } from "../strings";
import { IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";

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
  /** Choices that go with the question. */
  children: ReactNode;
}

export function Composer({ draftKey, isReady, onStop, onSend, problem, children }: Props) {
  const [text, setText] = useState(() => sessionStorage.getItem(draftKey) ?? "");
  const [isSending, setIsSending] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    // On a touch screen the keyboard would cover what is to be read first.
    if (!isTouched()) field.current?.focus();
  }, []);

  const write = (draft: string) => {
    setText(draft);
    sessionStorage.setItem(draftKey, draft);
  };
  const canSend = isReady && !isSending && onStop === undefined && text.trim() !== "";
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
      <div className="rounded-2xl border border-line-strong bg-raised p-1.5 shadow-sm focus-within:border-accent">
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
            className="bg-transparent outline-none placeholder:text-soft"
          />
        </div>
        <div className="flex items-center gap-1">
          {children}
          <span className="flex-1" />
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
