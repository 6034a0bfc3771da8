/** Small parts that all tabs of the playground are made of. */

import { type ComponentProps, type ReactNode, useId } from "react";
import { Button } from "../ui/Button";
import { FIELD } from "../ui/Field";
import { Icon } from "../ui/Icon";
import type { Problem } from "./request";
import { strings } from "./strings";

/** The work beside what it is done with; on a phone, one above the other. */
export function Columns({ main, side }: { main: ReactNode; side: ReactNode }) {
  return (
    <div className="mx-auto grid w-full max-w-6xl gap-x-8 gap-y-6 px-3 pb-10 sm:px-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
      <div className="flex min-w-0 flex-col gap-4">{main}</div>
      <div className="flex min-w-0 flex-col gap-3">{side}</div>
    </div>
  );
}

interface SectionProps {
  title: string;
  /** What is said of it while it is closed. */
  note?: string;
  isOpen?: boolean;
  children: ReactNode;
}

export function Section({ title, note, isOpen = false, children }: SectionProps) {
  return (
    <details open={isOpen} className="group rounded-xl border border-line bg-raised">
      <summary className="flex min-h-11 cursor-pointer list-none items-center gap-2 rounded-xl px-4 py-2 font-medium text-sm">
        <h2>{title}</h2>
        {note && <span className="ms-auto min-w-0 truncate font-normal text-soft text-xs">{note}</span>}
        <Icon name="chevronDown" className={`size-4 text-soft group-open:rotate-180 ${note ? "" : "ms-auto"}`} />
      </summary>
      <div className="flex flex-col gap-4 px-4 pt-1 pb-4">{children}</div>
    </details>
  );
}

interface SelectProps extends Omit<ComponentProps<"select">, "onChange"> {
  label: string;
  options: readonly { value: string; label: string }[];
  onChange: (value: string) => void;
}

export function Select({ label, options, onChange, ...rest }: SelectProps) {
  const id = useId();
  return (
    <div className="flex flex-col gap-1.5">
      <label htmlFor={id} className="font-medium text-sm">
        {label}
      </label>
      <select id={id} className={FIELD} onChange={(event) => onChange(event.target.value)} {...rest}>
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.label}
          </option>
        ))}
      </select>
    </div>
  );
}

interface RunBarProps {
  isRunning: boolean;
  onRun: () => void;
  onStop: () => void;
  /** What keeps it from running, once somebody has tried. */
  problems: readonly Problem[];
  children?: ReactNode;
}

export function RunBar({ isRunning, onRun, onStop, problems, children }: RunBarProps) {
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-center gap-2">
        {isRunning ? (
          <Button look="primary" onClick={onStop}>
            <Icon name="stop" className="size-4" />
            {strings.stop}
          </Button>
        ) : (
          <Button look="primary" onClick={onRun}>
            {strings.run}
          </Button>
        )}
        {children}
      </div>
      <div role="alert">
        {problems.length > 0 && (
          <div className="rounded-lg bg-danger-soft px-3 py-2 text-danger text-sm">
            <p>{strings.problems}</p>
            <ul className="ms-5 list-disc">
              {problems.map(({ field, message }) => (
                <li key={field + message}>{named(field, message)}</li>
              ))}
            </ul>
          </div>
        )}
      </div>
    </div>
  );
}

/** A number's problem does not say which number it is of. */
function named(field: string, message: string): string {
  const names: Record<string, string> = { ...strings.names, dimensions: strings.embeddings.dimensions };
  const name = field === "stop" ? strings.stopWords : names[field];
  return name === undefined ? message : `${name}: ${message}`;
}

export function Failed({ message }: { message: string }) {
  return (
    <p role="alert" className="flex gap-2 rounded-lg bg-danger-soft px-3 py-2 text-danger text-sm">
      <Icon name="alert" className="mt-0.5 size-4" />
      <span className="min-w-0 break-words">{message}</span>
    </p>
  );
}
