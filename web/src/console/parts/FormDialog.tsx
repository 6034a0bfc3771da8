/** A form in a dialog: it stays open until the server has agreed, and shows what it says if not, at the field if that is known. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { ApiError } from "../../api/client";
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
  /** Fields that show by themselves what the server says of them, by their names in its API. */
  fields?: readonly string[];
  children: ReactNode | ((wrong: Wrong) => ReactNode);
}

/** What the server says is wrong with a field. */
export type Wrong = (field: string) => string | undefined;

export function FormDialog({ title, submit, onSubmit, onClose, place = "center", fields = [], children }: Props) {
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: onSubmit,
    onSuccess: () => client.invalidateQueries({ queryKey: ["console"] }),
  });
  const send = (event: FormEvent<HTMLFormElement>, close: () => void) => {
    event.preventDefault();
    save.mutate(new FormData(event.currentTarget), { onSuccess: close });
  };
  const at = save.error instanceof ApiError ? fieldOf(save.error.param, fields) : undefined;
  const wrong: Wrong = (field) => (field === at ? save.error?.message : undefined);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    const field = save.error && at !== undefined && form.current?.elements.namedItem(at);
    if (field instanceof HTMLElement) field.focus();
  }, [save.error, at]);
  return (
    <Dialog title={title} place={place} onClose={onClose}>
      {(close) => (
        <form ref={form} onSubmit={(event) => send(event, close)} className="flex flex-1 flex-col gap-4">
          {typeof children === "function" ? children(wrong) : children}
          <Problem error={at === undefined ? save.error : null} />
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

/** The last of its parts that there is a field for: "method.reinforcement.grader.name" is in the field "grader". */
export function fieldOf(param: string, fields: readonly string[]): string | undefined {
  return param.split(/[.[\]]+/).findLast((part) => fields.includes(part));
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
