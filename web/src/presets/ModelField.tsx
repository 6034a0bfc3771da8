/** Which model, or none in particular. One that is chosen and not deployed can be seen, and stays until another is. */

import { useQuery } from "@tanstack/react-query";
import { useId } from "react";
import { modelsQuery } from "../api/chats";
import { FIELD } from "../ui/Field";
import { strings } from "./strings";

interface Props {
  model: string | undefined;
  /** What it says if none in particular is chosen. */
  none: string;
}

export function ModelField({ model, none }: Props) {
  const id = useId();
  const { data: models = [] } = useQuery(modelsQuery);
  const names = models.map((each) => each.id);
  return (
    <div className="col-span-2 flex min-w-0 flex-col gap-1.5 sm:col-span-1">
      <label htmlFor={id} className="font-medium text-sm">
        {strings.form.model}
      </label>
      <select id={id} name="model" key={names.join()} defaultValue={model ?? ""} className={`${FIELD} min-h-11`}>
        <option value="">{none}</option>
        {model !== undefined && !names.includes(model) && (
          <option value={model}>{strings.form.goneModel(model)}</option>
        )}
        {names.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </div>
  );
}
