import { Check } from "../ui/Check";
import { FIELD, Field, TextField } from "../ui/Field";
import { Section } from "./Parts";
import { NUMBERS, type NumberSpec, numberProblem, topLogprobs } from "./request";
import type { Parameters } from "./state";
import { strings } from "./strings";

interface Props {
  of: "chat" | "completion";
  parameters: Parameters;
  onChange: (change: Partial<Parameters>) => void;
}

export function ParametersSection({ of, parameters, onChange }: Props) {
  return (
    <Section title={strings.parameters} isOpen>
      <div className="grid grid-cols-2 items-end gap-3">
        {NUMBERS.map((spec) => (
          <NumberField key={spec.name} spec={spec} parameters={parameters} onChange={onChange} />
        ))}
      </div>
      <TextField
        label={strings.stopWords}
        hint={strings.stopWordsHint}
        rows={2}
        dir="auto"
        spellCheck={false}
        value={parameters.stop}
        onChange={(event) => onChange({ stop: event.target.value })}
      />
      <div className="grid grid-cols-2 items-end gap-3">
        <Check
          label={strings.logprobs}
          isChecked={parameters.logprobs}
          onChange={(logprobs) => onChange({ logprobs })}
        />
        {parameters.logprobs && <NumberField spec={topLogprobs(of)} parameters={parameters} onChange={onChange} />}
      </div>
    </Section>
  );
}

function NumberField({ spec, parameters, onChange }: { spec: NumberSpec } & Omit<Props, "of">) {
  const { name, min, max, isInteger } = spec;
  const problem = numberProblem(parameters[name], spec);
  return (
    <Field
      label={strings.names[name]}
      {...(problem !== null && { hint: problem })}
      inputMode={isInteger && (min ?? -1) >= 0 ? "numeric" : "text"}
      placeholder={min !== undefined && max !== undefined ? `${min} – ${max}` : strings.unset}
      aria-invalid={problem !== null}
      className={`${FIELD} aria-invalid:border-danger`}
      value={parameters[name]}
      onChange={(event) => onChange({ [name]: event.target.value })}
    />
  );
}
