/** How a model is asked: the fields of every form that says so, and what stands in them. */

import type { ChatSettings } from "../api/types";
import { strings } from "../strings";
import { Field } from "../ui/Field";

const NUMBERS = [
  { name: "temperature", label: strings.settings.temperature, min: 0, max: 2, step: "any" },
  { name: "top_p", label: strings.settings.topP, min: 0, max: 1, step: "any" },
  { name: "max_output_tokens", label: strings.settings.maxTokens, min: 16, step: 1 },
  { name: "seed", label: strings.settings.seed, step: 1 },
] as const;

/** An empty one is the model's own to choose. */
export function NumberFields({ values }: { values: Omit<ChatSettings, "preset"> | undefined }) {
  return NUMBERS.map(({ name, ...field }) => (
    <Field
      key={name}
      type="number"
      name={name}
      placeholder={strings.settings.unset}
      defaultValue={values?.[name]}
      {...field}
    />
  ));
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
