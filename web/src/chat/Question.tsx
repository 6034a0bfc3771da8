import { type KeyboardEvent, memo, useRef, useState } from "react";
import type { Item } from "../api/types";
import { strings } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { CopyButton } from "../ui/CopyButton";
import { Icon } from "../ui/Icon";
import { questionText } from "./items";

interface Props {
  input: Item[];
  /** The turn that it goes on from. */
  previous: string | null;
  /** Ask something else in its place; whether that could be sent. */
  onEdit: (previous: string | null, text: string) => Promise<boolean>;
}

/** What was asked. It does not change while its answer grows. */
export const Question = memo(function Question({ input, previous, onEdit }: Props) {
  const [isEdited, setIsEdited] = useState(false);
  const pencil = useRef<HTMLButtonElement>(null);
  const text = questionText(input);

  const leave = () => {
    setIsEdited(false);
    // The button is there again with the next frame.
    requestAnimationFrame(() => pencil.current?.focus());
  };
  if (isEdited) return <Editor text={text} onSave={(draft) => onEdit(previous, draft)} onLeave={leave} />;
  return (
    <div className="group/question flex flex-col items-end gap-1">
      <QuestionText text={text} />
      <div className="flex opacity-0 transition-opacity focus-within:opacity-100 group-hover/question:opacity-100 pointer-coarse:opacity-100">
        <CopyButton label={strings.turn.copyQuestion} text={() => text} />
        <IconButton ref={pencil} label={strings.turn.edit} onClick={() => setIsEdited(true)}>
          <Icon name="pencil" className="size-4" />
        </IconButton>
      </div>
    </div>
  );
});

export function QuestionText({ text }: { text: string }) {
  return (
    <p className="max-w-[85%] whitespace-pre-wrap break-words rounded-2xl bg-accent-soft px-4 py-2.5" dir="auto">
      <span className="sr-only">{strings.turn.you}: </span>
      {text}
    </p>
  );
}

interface EditorProps {
  text: string;
  onSave: (text: string) => Promise<boolean>;
  onLeave: () => void;
}

function Editor({ text, onSave, onLeave }: EditorProps) {
  const [draft, setDraft] = useState(text);
  const save = async () => {
    if (draft.trim() !== "" && (await onSave(draft.trim()))) onLeave();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") onLeave();
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void save();
  };
  return (
    <div className="rounded-2xl border border-accent bg-raised p-1.5">
      <div className="grows" data-text={draft}>
        <textarea
          // biome-ignore lint/a11y/noAutofocus: it opened because somebody wants to write in it.
          autoFocus
          rows={1}
          dir="auto"
          aria-label={strings.turn.edit}
          value={draft}
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={onKeyDown}
          className="bg-transparent outline-none"
        />
      </div>
      <div className="flex justify-end gap-2">
        <Button onClick={onLeave}>{strings.actions.cancel}</Button>
        <Button look="primary" onClick={() => void save()}>
          {strings.turn.saveEdit}
        </Button>
      </div>
    </div>
  );
}
