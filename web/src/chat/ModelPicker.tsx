import { useQuery } from "@tanstack/react-query";
import { modelsQuery } from "../api/chats";
import type { Model } from "../api/types";
import { strings } from "../strings";
import { Icon } from "../ui/Icon";
import { Menu, MenuChoice } from "../ui/Menu";

interface Props {
  model: string | undefined;
  onChange: (model: string) => void;
}

export function ModelPicker({ model, onChange }: Props) {
  const { data: models = [], isSuccess } = useQuery(modelsQuery);
  if (isSuccess && models.length === 0)
    return <span className="px-2 text-danger text-sm">{strings.composer.noModels}</span>;
  const trigger = (
    <button
      type="button"
      className="flex min-h-9 min-w-0 items-center gap-1 rounded-lg px-2.5 text-soft text-sm hover:bg-hover hover:text-ink"
    >
      <span className="sr-only">{strings.composer.model}: </span>
      <span className="truncate">{model ?? "…"}</span>
      <Icon name="chevronDown" className="size-4" />
    </button>
  );
  const options = models.map((each) => ({ value: each.id, label: <Label {...each} /> }));
  return (
    <Menu trigger={trigger}>
      <MenuChoice label={strings.composer.model} value={model} options={options} onChange={onChange} />
    </Menu>
  );
}

/** What there is to say of a model that does not answer at once. */
const STATES: Partial<Record<string, string>> = strings.composer.states;

function Label({ id, state }: Model) {
  return (
    <span>
      <span className="break-all">{id}</span>
      {state !== "ready" && <span className="block text-soft text-xs">{STATES[state]}</span>}
    </span>
  );
}
