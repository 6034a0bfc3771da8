/** Who answers when two are asked at once, and what tells them apart. Pure. */

import type { ChatSettings } from "../api/types";
import { strings } from "./strings";

export interface Contender {
  label: string;
  model: string;
  settings: ChatSettings;
}

const PARAMETERS = ["temperature", "top_p", "max_output_tokens", "seed"] as const;

/** The chat as it is set, and what it is compared with. What is attached to the chat is given to both. */
export function contenders(model: string, settings: ChatSettings): Contender[] {
  const { versus = {}, compared, ...own } = settings;
  const { vector_store } = own;
  const other = { ...versus, ...(vector_store !== undefined && { vector_store }) };
  const both = [
    { model, settings: own },
    { model: versus.model ?? model, settings: other },
  ];
  const labels = both.map((each, at) => labelOf(each, both[1 - at] ?? each));
  return both.map((each, at) => {
    const label = labels[at] ?? "";
    return { ...each, label: labels[0] === labels[1] ? strings.numbered(label, at + 1) : label };
  });
}

type Asked = Omit<Contender, "label">;

/** Its name, and in what it differs from the other one. */
function labelOf({ model, settings }: Asked, other: Asked): string {
  const differences = PARAMETERS.filter(
    (name) => settings[name] !== undefined && settings[name] !== other.settings[name],
  );
  return [
    settings.preset?.name ?? model,
    ...(settings.preset && other.model !== model ? [model] : []),
    ...differences.map((name) => `${strings.parameters[name]} ${settings[name]}`),
  ].join(" · ");
}
