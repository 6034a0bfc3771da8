/** A form in a dialog: it stays open until the server has agreed, and shows what it says if not. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { strings } from "../../strings";
import { Button } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { Problem } from "./Page";

interface Props {
  title: string;
  /** What the button says that sends it. */
  submit: string;
  onSubmit: (form: FormData) => Promise<unknown>;
  onClose: () => void;
  place?: "center" | "end";
  children: ReactNode;
}

export function FormDialog({ title, submit, onSubmit, onClose, place = "center", children }: Props) {
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: onSubmit,
    onSuccess: () => client.invalidateQueries({ queryKey: ["console"] }),
  });
  const send = (event: FormEvent<HTMLFormElement>, close: () => void) => {
    event.preventDefault();
    save.mutate(new FormData(event.currentTarget), { onSuccess: close });
  };
  return (
    <Dialog title={title} place={place} onClose={onClose}>
      {(close) => (
        <form onSubmit={(event) => send(event, close)} className="flex flex-1 flex-col gap-4">
          {children}
          <Problem error={save.error} />
          <footer className="mt-auto flex justify-end gap-2 pt-2">
            <Button onClick={close}>{strings.actions.cancel}</Button>
            <Button look="primary" type="submit" disabled={save.isPending}>
              {submit}
            </Button>
          </footer>
        </form>
      )}
    </Dialog>
  );
}

interface OpenProps {
  label: string;
  look?: "primary" | "outline";
  isDisabled?: boolean;
  about?: string;
  icon?: ReactNode;
  children: (close: () => void) => ReactNode;
}

/** A button that opens a dialog. */
export function OpenButton({ label, look = "outline", isDisabled = false, about, icon, children }: OpenProps) {
  const [isOpen, setIsOpen] = useState(false);
  return (
    <>
      <Button
        look={look}
        disabled={isDisabled}
        aria-label={about && `${label}: ${about}`}
        onClick={() => setIsOpen(true)}
      >
        {icon}
        {label}
      </Button>
      {isOpen && children(() => setIsOpen(false))}
    </>
  );
}

/** What was entered, without the spaces around it. */
export function textIn(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === "string" ? value.trim() : "";
}
