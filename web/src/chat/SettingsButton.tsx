import { type FormEvent, useState } from "react";
import type { ChatSettings } from "../api/types";
import { strings } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Dialog, DialogActions } from "../ui/Dialog";
import { Field, TextField } from "../ui/Field";
import { Icon } from "../ui/Icon";

export const NUMBERS = [
  { name: "temperature", label: strings.settings.temperature, min: 0, max: 2, step: "any" },
  { name: "top_p", label: strings.settings.topP, min: 0, max: 1, step: "any" },
  { name: "max_output_tokens", label: strings.settings.maxTokens, min: 16, step: 1 },
  { name: "seed", label: strings.settings.seed, step: 1 },
] as const;

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
                {NUMBERS.map(({ name, ...field }) => (
                  <Field
                    key={name}
                    type="number"
                    name={name}
                    placeholder={strings.settings.unset}
                    defaultValue={settings[name]}
                    {...field}
                  />
                ))}
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

/** What stands in the form; a field that is empty is the model's own to choose. */
export function entered(form: FormData): ChatSettings {
  const settings: ChatSettings = {};
  const instructions = String(form.get("instructions")).trim();
  if (instructions !== "") settings.instructions = instructions;
  for (const { name } of NUMBERS) {
    const value = form.get(name);
    if (value) settings[name] = Number(value);
  }
  return settings;
}
