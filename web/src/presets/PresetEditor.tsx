/** Where an assistant is written. */

import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useRef, useState, useSyncExternalStore } from "react";
import { useAttempt } from "../chat/attempt";
import { removeStore } from "../chat/files/api";
import { useShelf } from "../chat/files/shelf";
import { entered, NumberFields } from "../chat/SettingsFields";
import { strings as shared } from "../strings";
import { Button } from "../ui/Button";
import { Check } from "../ui/Check";
import { Dialog, DialogActions } from "../ui/Dialog";
import { Field, TextField } from "../ui/Field";
import { createPreset, type Preset, type PresetFields, presetsQuery, updatePreset } from "./api";
import { ModelField } from "./ModelField";
import { PresetFiles } from "./PresetFiles";
import { MOST_STARTERS, presetSettings, startersOf } from "./preset";
import { strings } from "./strings";

interface Props {
  /** The one that is changed; none makes a new one. */
  preset: Preset | undefined;
  onClose: () => void;
}

export default function PresetEditor({ preset, onClose }: Props) {
  const [isShared, setIsShared] = useState(preset?.shared ?? false);
  const [store, setStore] = useState(preset?.vector_store ?? undefined);
  const isSaved = useRef(false);
  const { problem, attempt } = useAttempt();
  const client = useQueryClient();
  const shelf = useShelf(store, async (made) => {
    setStore(made);
    if (preset) await updatePreset(preset.id, { vector_store: made });
  });
  const isBusy = useSyncExternalStore(shelf.subscribe, shelf.isBusy);

  const save = async (event: FormEvent<HTMLFormElement>, close: () => void) => {
    event.preventDefault();
    const fields = { ...fieldsOf(new FormData(event.currentTarget)), shared: isShared, vector_store: store ?? null };
    isSaved.current = await attempt(() => (preset ? updatePreset(preset.id, fields) : createPreset(fields)));
    if (isSaved.current) close();
  };
  const leave = () => {
    // What was uploaded for an assistant that nobody has saved is nobody's.
    if (!preset && store !== undefined && !isSaved.current) void removeStore(store).catch(() => {});
    void client.invalidateQueries({ queryKey: presetsQuery.queryKey });
    onClose();
  };
  return (
    <Dialog title={preset ? strings.form.edit : strings.form.new} place="wide" onClose={leave}>
      {(close) => (
        <form onSubmit={(event) => void save(event, close)} className="flex flex-1 flex-col gap-4">
          <div className="grid items-start gap-4 sm:grid-cols-[1fr_10rem]">
            <Field
              label={strings.form.name}
              name="name"
              required
              maxLength={80}
              dir="auto"
              defaultValue={preset?.name}
            />
            <Field label={strings.form.icon} name="icon" maxLength={16} defaultValue={preset?.icon} />
          </div>
          <Field
            label={strings.form.description}
            hint={strings.form.descriptionHint}
            name="description"
            maxLength={300}
            dir="auto"
            defaultValue={preset?.description}
          />
          <TextField
            label={strings.form.instructions}
            hint={strings.form.instructionsHint}
            name="instructions"
            maxLength={16_000}
            rows={7}
            dir="auto"
            defaultValue={preset?.instructions}
          />
          <div className="grid grid-cols-2 items-end gap-4 sm:grid-cols-3">
            <ModelField model={preset?.settings.model} none={strings.form.anyModel} />
            <NumberFields values={preset?.settings} />
          </div>
          <fieldset className="flex flex-col gap-2">
            <legend className="mb-1.5 font-medium text-sm">{strings.form.starters}</legend>
            {Array.from({ length: MOST_STARTERS }, (_, at) => (
              <Starter key={strings.form.starter(at + 1)} number={at + 1} text={preset?.starters[at]} />
            ))}
          </fieldset>
          <PresetFiles shelf={shelf} />
          <Check
            label={strings.form.shared}
            hint={strings.form.sharedHint}
            isChecked={isShared}
            onChange={setIsShared}
          />
          <p role="alert" className="text-danger text-sm empty:hidden">
            {problem}
          </p>
          <DialogActions>
            <Button onClick={close}>{shared.actions.cancel}</Button>
            <Button look="primary" type="submit" disabled={isBusy}>
              {strings.form.save}
            </Button>
          </DialogActions>
        </form>
      )}
    </Dialog>
  );
}

function Starter({ number, text }: { number: number; text: string | undefined }) {
  return (
    <input
      name="starter"
      aria-label={strings.form.starter(number)}
      placeholder={`${number}`}
      maxLength={300}
      dir="auto"
      defaultValue={text}
      className="w-full rounded-lg border border-line-strong bg-page px-3 py-2 text-ink placeholder:text-soft"
    />
  );
}

function fieldsOf(form: FormData): Omit<PresetFields, "shared" | "vector_store"> {
  const text = (name: string) => String(form.get(name) ?? "").trim();
  const model = text("model");
  return {
    name: text("name"),
    icon: text("icon"),
    description: text("description"),
    instructions: text("instructions"),
    settings: presetSettings({ ...entered(form), ...(model && { model }) }),
    starters: startersOf(form.getAll("starter").map(String)),
  };
}
