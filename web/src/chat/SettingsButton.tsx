import { type FormEvent, useState } from "react";
import type { ChatSettings } from "../api/types";
import { strings } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Dialog, DialogActions } from "../ui/Dialog";
import { TextField } from "../ui/Field";
import { Icon } from "../ui/Icon";
import { entered, NumberFields } from "./SettingsFields";

interface Props {
  settings: ChatSettings;
  onChange: (settings: ChatSettings) => void;
}

/** Opens the settings of a chat. */
export function SettingsButton({ settings, onChange }: Props) {
  const [isOpen, setIsOpen] = useState(false);

  const save = (event: FormEvent<HTMLFormElement>, close: () => void) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    close();
    const { instructions, temperature, top_p, max_output_tokens, seed, ...others } = settings;
    onChange({ ...others, ...entered(form) });
  };
  return (
    <>
      <IconButton label={strings.composer.settings} onClick={() => setIsOpen(true)}>
        <Icon name="settings" />
      </IconButton>
      {isOpen && (
        <Dialog title={strings.settings.title} place="end" onClose={() => setIsOpen(false)}>
          {(close) => (
            <form onSubmit={(event) => save(event, close)} className="flex flex-1 flex-col gap-4">
              <TextField
                label={strings.settings.instructions}
                hint={strings.settings.instructionsHint}
                name="instructions"
                rows={8}
                defaultValue={settings.instructions}
              />
              <div className="grid grid-cols-2 items-end gap-4">
                <NumberFields values={settings} />
              </div>
              <DialogActions>
                <Button onClick={close}>{strings.actions.cancel}</Button>
                <Button look="primary" type="submit">
                  {strings.actions.save}
                </Button>
              </DialogActions>
            </form>
          )}
        </Dialog>
      )}
    </>
  );
}
