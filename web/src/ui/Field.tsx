/** A labelled field of a form, with a hint and what is wrong with it, which are read with it. */

import { type InputHTMLAttributes, type ReactNode, type TextareaHTMLAttributes, useId } from "react";

export const FIELD =
  "w-full rounded-lg border border-line-strong bg-page px-3 py-2 text-ink placeholder:text-soft disabled:opacity-50";

export interface Words {
  label: string;
  hint?: string | undefined;
  /** What is wrong with what was entered. */
  wrong?: string | undefined;
}

/** For the control that has this id and these words. */
export function described(id: string, { hint, wrong }: Omit<Words, "label">) {
  const by = [wrong && `${id}-wrong`, hint && `${id}-hint`].filter(Boolean).join(" ");
  return { id, "aria-describedby": by || undefined, "aria-invalid": wrong !== undefined || undefined };
}

interface InputProps extends Words, InputHTMLAttributes<HTMLInputElement> {
  /** What may be chosen instead of writing it. */
  suggestions?: readonly string[];
}

export function Field({ label, hint, wrong, suggestions = [], ...rest }: InputProps) {
  const id = useId();
  return (
    <Labelled id={id} label={label} hint={hint} wrong={wrong}>
      <input
        {...described(id, { hint, wrong })}
        list={suggestions.length > 0 ? `${id}-list` : undefined}
        className={FIELD}
        {...rest}
      />
      <datalist id={`${id}-list`}>
        {suggestions.map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
    </Labelled>
  );
}

export function TextField({ label, hint, wrong, ...rest }: Words & TextareaHTMLAttributes<HTMLTextAreaElement>) {
  const id = useId();
  return (
    <Labelled id={id} label={label} hint={hint} wrong={wrong}>
      <textarea {...described(id, { hint, wrong })} className={`${FIELD} resize-y`} {...rest} />
    </Labelled>
  );
}

export function Labelled({ id, label, hint, wrong, children }: Words & { id: string; children: ReactNode }) {
  return (
    <div className="flex min-w-0 flex-col gap-1.5">
      <label htmlFor={id} className="font-medium text-sm">
        {label}
      </label>
      {children}
      {wrong && (
        <p id={`${id}-wrong`} role="alert" className="whitespace-pre-line break-words text-danger text-xs">
          {wrong}
        </p>
      )}
      {hint && (
        <p id={`${id}-hint`} className="text-soft text-xs">
          {hint}
        </p>
      )}
    </div>
  );
}
