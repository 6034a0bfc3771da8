import { useId } from "react";

interface Props<Value extends string> {
  label: string;
  value: Value;
  options: readonly (readonly [Value, string])[];
  onChange: (value: Value) => void;
  /** Its label is beside it, and not above. */
  isInline?: boolean;
}

export function Select<Value extends string>({ label, value, options, onChange, isInline = false }: Props<Value>) {
  const id = useId();
  const choose = (chosen: string) => {
    const option = options.find(([each]) => each === chosen);
    if (option) onChange(option[0]);
  };
  return (
    <div className={isInline ? "flex items-center gap-2" : "flex flex-col gap-1.5"}>
      <label htmlFor={id} className={isInline ? "text-soft text-sm" : "font-medium text-sm"}>
        {label}
      </label>
      <select
        id={id}
        value={value}
        onChange={(event) => choose(event.target.value)}
        className="min-h-9 min-w-0 max-w-full rounded-lg border border-line-strong bg-page px-2.5 py-1.5 text-ink text-sm"
      >
        {options.map(([each, text]) => (
          <option key={each} value={each}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
