/** A labelled field of a form, with a hint that is read with it. */

import { type InputHTMLAttributes, type ReactNode, type TextareaHTMLAttributes, useId } from "react";

export const FIELD =
  "w-full rounded-lg border border-line-strong bg-page px-3 py-2 text-ink placeholder:text-soft disabled:opacity-50";

interface Words {
  label: string;
  hint?: string;
}

interface InputProps extends Words, InputHTMLAttributes<HTMLInputElement> {
  /** What may be chosen instead of writing it. */
  suggestions?: readonly string[];
}

export function Field({ label, hint, suggestions = [], ...rest }: InputProps) {
  const id = useId();
  return (
    <Labelled id={id} label={label} hint={hint}>
      <input
        id={id}
        aria-describedby={hint && `${id}-hint`}
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

export function TextField({ label, hint, ...rest }: Words & TextareaHTMLAttributes<HTMLTextAreaElement>) {
  const id = useId();
  return (
    <Labelled id={id} label={label} hint={hint}>
      <textarea id={id} aria-describedby={hint && `${id}-hint`} className={`${FIELD} resize-y`} {...rest} />
    </Labelled>
  );
}

function Labelled({
  id,
  label,
  hint,
  children,
}: {
  id: string;
  label: string;
  hint: string | undefined;
  children: ReactNode;
}) {
  return (
    <div className="flex flex-col gap-1.5">
      <label htmlFor={id} className="font-medium text-sm">
        {label}
      </label>
      {children}
      {hint && (
        <p id={`${id}-hint`} className="text-soft text-xs">
          {hint}
        </p>
      )}
    </div>
  );
}
