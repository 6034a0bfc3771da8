/** Modal dialogs: the browser's own, which keep the focus inside, close with Escape, and give the focus back. */

import { createContext, type ReactNode, useEffect, useId, useState } from "react";
import { createPortal } from "react-dom";
import { strings } from "../strings";
import { Button, IconButton } from "./Button";
import { Icon } from "./Icon";

const PLACES = {
  center: "m-auto w-[min(28rem,calc(100vw-2rem))] rounded-2xl border border-line",
  wide: "m-auto w-[min(52rem,calc(100vw-2rem))] rounded-2xl border border-line",
  start: "me-auto h-dvh max-h-none w-[min(20rem,calc(100vw-3rem))]",
  end: "ms-auto h-dvh max-h-none w-[min(24rem,calc(100vw-2rem))] border-line border-s",
};

/** Where menus are to be put: what is outside of an open dialog can be neither seen above it nor reached. */
export const Layer = createContext<HTMLElement | null>(null);

interface Props {
  title: string;
  /** Called once it is closed, however that came about: then it is to be rendered no more. */
  onClose: () => void;
  children: (close: () => void) => ReactNode;
  place?: keyof typeof PLACES;
  /** A drawer whose content has a heading of its own needs none of the dialog's. */
  bare?: boolean;
}

export function Dialog({ title, onClose, children, place = "center", bare = false }: Props) {
  const [dialog, setDialog] = useState<HTMLDialogElement | null>(null);
  const heading = useId();
  const close = () => dialog?.close();

  useEffect(() => {
    dialog?.showModal();
    // To where one goes on, and not to the button that closes.
    if (!bare)
      dialog?.querySelector<HTMLElement>("input:not([hidden]), select, textarea, [data-actions] button")?.focus();
  }, [dialog, bare]);

  // At the end of the page: a form in it is not to lie in another one, where browsers let nobody hear it being sent.
  return createPortal(
    // biome-ignore lint/a11y/useKeyWithClickEvents: a click beside the dialog; with the keyboard, Escape does it.
    <dialog
      ref={setDialog}
      aria-labelledby={bare ? undefined : heading}
      aria-label={bare ? title : undefined}
      // React lets these events of a dialog within this one through to here.
      onClose={(event) => event.target === event.currentTarget && onClose()}
      onClick={(event) => event.target === event.currentTarget && close()}
      className={`bg-raised text-ink shadow-xl backdrop:bg-black/40 ${PLACES[place]}`}
    >
      <Layer value={dialog}>
        {bare ? (
          children(close)
        ) : (
          <div className="flex min-h-full flex-col gap-4 p-5">
            <div className="flex items-center justify-between gap-2">
              <h2 id={heading} className="font-semibold text-lg">
                {title}
              </h2>
              <IconButton label={strings.actions.close} onClick={close} className="-me-2">
                <Icon name="close" />
              </IconButton>
            </div>
            {children(close)}
          </div>
        )}
      </Layer>
    </dialog>,
    document.body,
  );
}

/** The buttons at the end of a dialog. */
export function DialogActions({ children }: { children: ReactNode }) {
  return (
    <div data-actions="" className="mt-auto flex justify-end gap-2 pt-2">
      {children}
    </div>
  );
}

interface ConfirmProps {
  title: string;
  text: string;
  /** What the button says that does it. */
  label?: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before something is deleted. */
export function Confirm({ title, text, label = strings.actions.delete, onConfirm, onClose }: ConfirmProps) {
  const confirm = (close: () => void) => {
    close();
    onConfirm();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      {(close) => (
        <>
          <p className="text-soft">{text}</p>
          <DialogActions>
            <Button onClick={close}>{strings.actions.cancel}</Button>
            <Button look="danger" onClick={() => confirm(close)}>
              {label}
            </Button>
          </DialogActions>
        </>
      )}
    </Dialog>
  );
}
