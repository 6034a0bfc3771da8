/** A key that was just made. Nothing keeps it: once the dialog is closed, no page can show it again. */

import { Button } from "../../ui/Button";
import { CopyButton } from "../../ui/CopyButton";
import { Dialog } from "../../ui/Dialog";
import { words } from "../strings";

export interface Secret {
  name: string;
  value: string;
}

export function SecretDialog({ secret: { name, value }, onClose }: { secret: Secret; onClose: () => void }) {
  return (
    <Dialog title={words.keys.secretTitle} onClose={onClose}>
      {(close) => (
        <>
          <p className="text-soft text-sm">{words.keys.secretText(name)}</p>
          <div className="flex items-center gap-1 rounded-lg border border-line-strong bg-page py-1 ps-3 pe-1">
            <code className="min-w-0 flex-1 break-all text-sm">{value}</code>
            <CopyButton label={words.keys.copy} text={() => value} />
          </div>
          <footer className="flex justify-end">
            <Button look="primary" onClick={close}>
              {words.keys.kept}
            </Button>
          </footer>
        </>
      )}
    </Dialog>
  );
}
