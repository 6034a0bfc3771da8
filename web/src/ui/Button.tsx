/** Buttons with words, and buttons with an icon whose words are their label. */

import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";

type Base = ButtonHTMLAttributes<HTMLButtonElement> & { ref?: Ref<HTMLButtonElement> };

const LOOKS = {
  primary: "bg-accent text-on-accent hover:bg-accent-strong",
  quiet: "text-ink hover:bg-hover",
  danger: "bg-danger text-on-accent hover:opacity-90",
  outline: "border border-line text-ink hover:bg-hover",
};

export function Button({ look = "quiet", className = "", ...rest }: Base & { look?: keyof typeof LOOKS }) {
  return (
    <button
      type="button"
      className={`inline-flex min-h-9 items-center justify-center gap-2 rounded-lg px-3.5 py-1.5 font-medium text-sm transition-colors disabled:opacity-50 ${LOOKS[look]} ${className}`}
      {...rest}
    />
  );
}

export function IconButton({
  label,
  children,
  className = "",
  ...rest
}: Base & { label: string; children: ReactNode }) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`inline-flex size-9 shrink-0 items-center justify-center rounded-lg text-soft transition-colors hover:bg-hover hover:text-ink disabled:opacity-40 aria-pressed:bg-accent-soft aria-pressed:text-accent ${className}`}
      {...rest}
    >
      {children}
    </button>
  );
}
