/** What every question is asked to besides: another model, another assistant, or the same with other settings. */

import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useId, useState } from "react";
import type { ChatSettings } from "../api/types";
import { entered, NumberFields } from "../chat/SettingsFields";
import { presetsQuery } from "../presets/api";
import { settingsOf } from "../presets/begin";
import { ModelField } from "../presets/ModelField";
import { strings as shared } from "../strings";
import { Button } from "../ui/Button";
import { Dialog, DialogActions } from "../ui/Dialog";
import { FIELD, TextField } from "../ui/Field";
import { strings } from "./strings";

interface Props {
  settings: ChatSettings;
  onChange: (settings: ChatSettings) => void;
  onClose: () => void;
}

export default function CompareDialog({ settings, onChange, onClose }: Props) {
  const { versus, ...own } = settings;
  // It begins as the chat is, so that one thing is changed and the rest compares.
  const [other, setOther] = useState<ChatSettings>(versus ?? own);
  const id = useId();
  const { data: presets = [] } = useQuery(presetsQuery);

  const choose = (chosen: string) => {
    const preset = presets.find((each) => each.id === chosen);
    const { model } = other;
    setOther(preset ? { ...(model && { model }), ...settingsOf(preset) } : { ...(model && { model }) });
  };
  const save = (event: FormEvent<HTMLFormElement>, close: () => void) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const model = String(form.get("model"));
    const { preset } = other;
    onChange({ ...own, versus: { ...entered(form), ...(model && { model }), ...(preset && { preset }) } });
    close();
  };
  const stop = (close: () => void) => {
    onChange(own);
    close();
  };
  return (
    <Dialog title={strings.title} place="end" onClose={onClose}>
      {(close) => (
        <form
          // What an assistant brings is put into the fields when it is chosen.
          key={other.preset?.id}
          onSubmit={(event) => save(event, close)}
          className="flex flex-1 flex-col gap-4"
        >
          <p className="text-soft text-sm">{strings.text}</p>
          {(presets.length > 0 || other.preset) && (
            <div className="flex flex-col gap-1.5">
              <label htmlFor={id} className="font-medium text-sm">
                {strings.assistant}
              </label>
              <select
                id={id}
                value={other.preset?.id ?? ""}
                onChange={(event) => choose(event.target.value)}
                className={`${FIELD} min-h-11`}
              >
                <option value="">{strings.noAssistant}</option>
                {other.preset && !presets.some((each) => each.id === other.preset?.id) && (
                  <option value={other.preset.id}>{other.preset.name}</option>
                )}
                {presets.map((each) => (
                  <option key={each.id} value={each.id}>
                    {each.name}
                  </option>
                ))}
              </select>
            </div>
          )}
          <ModelField model={other.model} none={strings.sameModel} />
          <TextField
            label={shared.settings.instructions}
            name="instructions"
            rows={4}
            dir="auto"
            defaultValue={other.instructions}
          />
          <div className="grid grid-cols-2 items-end gap-4">
            <NumberFields values={other} />
          </div>
          <DialogActions>
            {versus && (
              <Button className="me-auto" onClick={() => stop(close)}>
                {strings.stop}
              </Button>
            )}
            <Button onClick={close}>{shared.actions.cancel}</Button>
            <Button look="primary" type="submit">
              {strings.start}
            </Button>
          </DialogActions>
        </form>
      )}
    </Dialog>
  );
}
