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

const ICON_LOOKS = {
  quiet:
    "text-soft hover:bg-hover hover:text-ink aria-pressed:bg-accent-soft aria-pressed:text-accent disabled:opacity-40",
  soft: "bg-accent-soft text-accent hover:bg-hover",
  primary:
    "enabled:bg-accent enabled:text-on-accent enabled:hover:bg-accent-strong disabled:bg-hover disabled:text-soft",
  raised: "border border-line bg-raised text-soft shadow-md hover:text-ink",
};

interface IconButtonProps extends Base {
  label: string;
  look?: keyof typeof ICON_LOOKS;
  children: ReactNode;
}

export function IconButton({ label, look = "quiet", className = "", ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`inline-flex size-9 shrink-0 items-center justify-center rounded-lg transition-colors ${ICON_LOOKS[look]} ${className}`}
      {...rest}
    />
  );
}
