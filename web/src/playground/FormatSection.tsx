import { Check } from "../ui/Check";
import { Field } from "../ui/Field";
import { JsonEditor } from "./JsonEditor";
import { Section, Select } from "./Parts";
import { checkSchema } from "./schema";
import { FORMATS, type Format } from "./state";
import { strings } from "./strings";

const OPTIONS = FORMATS.map((type) => ({ value: type, label: strings.format.types[type] }));

// Functions that stay the same: see JsonEditor.
const checkStrict = (value: unknown) => checkSchema(value, true);
const checkLoose = (value: unknown) => checkSchema(value, false);

interface Props {
  format: Format;
  onChange: (change: Partial<Format>) => void;
}

export function FormatSection({ format, onChange }: Props) {
  const choose = (chosen: string) => {
    const type = FORMATS.find((each) => each === chosen);
    if (type) onChange({ type });
  };
  return (
    <Section title={strings.format.title} note={strings.format.types[format.type]} isOpen={format.type !== "text"}>
      <Select label={strings.format.type} value={format.type} options={OPTIONS} onChange={choose} />
      {format.type !== "text" && <p className="text-soft text-xs">{strings.format.jsonHint}</p>}
      {format.type === "json_schema" && (
        <>
          <Field
            label={strings.format.name}
            value={format.name}
            spellCheck={false}
            onChange={(event) => onChange({ name: event.target.value })}
          />
          <Check
            label={strings.format.strict}
            hint={strings.format.strictHint}
            isChecked={format.strict}
            onChange={(strict) => onChange({ strict })}
          />
          <JsonEditor
            label={strings.format.schema}
            text={format.schema}
            onChange={(schema) => onChange({ schema })}
            check={format.strict ? checkStrict : checkLoose}
            rows={16}
          />
        </>
      )}
    </Section>
  );
}
