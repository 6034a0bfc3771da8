/** Buttons that change something: what is destructive asks first, and what the server says against it is shown. */

import { type QueryKey, useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Button } from "../../ui/Button";
import { Confirm } from "../../ui/Dialog";

/** A change, after which what begins with `stale` is fetched again. */
export function useChange<Given, Result>(change: (given: Given) => Promise<Result>, stale: QueryKey = ["console"]) {
  const client = useQueryClient();
  return useMutation({ mutationFn: change, onSettled: () => client.invalidateQueries({ queryKey: stale }) });
}

interface Props {
  /** What the button says. */
  label: string;
  /** For screen readers, where there are several with the same label. */
  about?: string;
  icon?: ReactNode;
  title: string;
  text: string;
  isDisabled?: boolean;
  onConfirm: () => void;
}

export function AskButton({ label, about, icon, title, text, isDisabled = false, onConfirm }: Props) {
  const [isAsking, setIsAsking] = useState(false);
  return (
    <>
      <Button
        look="outline"
        disabled={isDisabled}
        aria-label={about && `${label}: ${about}`}
        onClick={() => setIsAsking(true)}
      >
        {icon}
        {label}
      </Button>
      {isAsking && (
        <Confirm title={title} text={text} label={label} onConfirm={onConfirm} onClose={() => setIsAsking(false)} />
      )}
    </>
  );
}
