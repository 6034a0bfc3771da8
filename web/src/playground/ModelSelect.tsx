import { chosenModel, type Models } from "./models";
import { Select } from "./Parts";
import { strings } from "./strings";

interface Props {
  models: Models;
  model: string;
  onChange: (model: string) => void;
}

export function ModelSelect({ models, model, onChange }: Props) {
  const isMissing = models.isLoaded && models.ids.length === 0;
  const options = isMissing
    ? [{ value: "", label: strings.noModel }]
    : models.ids.map((id) => ({ value: id, label: id }));
  return (
    <Select
      label={strings.model}
      value={chosenModel(model, models)}
      options={options}
      disabled={isMissing}
      onChange={onChange}
    />
  );
}
