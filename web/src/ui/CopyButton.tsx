import { useEffect, useState } from "react";
import { strings } from "../strings";
import { IconButton } from "./Button";
import { Icon } from "./Icon";

const SHOWN_MS = 1_500;

/** Copies what `text` returns, and says so for a moment. */
export function CopyButton({ label, text }: { label: string; text: () => string }) {
  const [isCopied, setIsCopied] = useState(false);

  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setIsCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isCopied]);

  const onClick = () => void copyText(text()).then(setIsCopied);
  return (
    <IconButton label={isCopied ? strings.actions.copied : label} onClick={onClick}>
      {isCopied ? <Icon name="check" className="size-4" /> : <Icon name="copy" className="size-4" />}
    </IconButton>
  );
}

/** Whether it is copied. Servers at home are often reached over plain http, where browsers have only the old way. */
async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  const focused = document.activeElement;
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}
