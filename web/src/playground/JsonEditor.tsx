/** A field for JSON that says, while one writes, where it stops being JSON and what else is wrong with it. */

import { useDeferredValue, useId, useMemo, useRef } from "react";
import { Button } from "../ui/Button";
import { FIELD } from "../ui/Field";
import { Icon } from "../ui/Icon";
import { parseJson } from "./json";
import type { Issue } from "./schema";
import { written } from "./state";
import { strings } from "./strings";

interface Props {
  label: string;
  text: string;
  onChange: (text: string) => void;
  /** What is wrong with a value that is JSON. Of a constant: a new function is a new check. */
  check: (value: unknown) => readonly Issue[];
  rows?: number;
}

export function JsonEditor({ label, text, onChange, check, rows = 12 }: Props) {
  const id = useId();
  const field = useRef<HTMLTextAreaElement>(null);
  // Typing goes before checking.
  const settled = useDeferredValue(text);
  const { value, problem } = useMemo(() => parseJson(settled), [settled]);
  const issues = useMemo(() => (problem === null ? check(value) : []), [value, problem, check]);

  const goTo = (offset: number) => {
    field.current?.focus();
    field.current?.setSelectionRange(offset, offset);
  };
  return (
    <div className="flex flex-col gap-1.5">
      <div className="flex min-h-9 items-center justify-between gap-2">
        <label htmlFor={id} className="font-medium text-sm">
          {label}
        </label>
        <Button onClick={() => onChange(written(value))} disabled={problem !== null} className="-me-2">
          {strings.json.tidy}
        </Button>
      </div>
      <textarea
        id={id}
        ref={field}
        rows={rows}
        dir="ltr"
        spellCheck={false}
        autoCapitalize="off"
        autoCorrect="off"
        wrap="off"
        value={text}
        aria-invalid={problem !== null || issues.length > 0}
        aria-describedby={`${id}-state`}
        onChange={(event) => onChange(event.target.value)}
        className={`${FIELD} resize-y font-mono aria-invalid:border-danger text-xs leading-5`}
      />
      <div id={`${id}-state`} aria-live="polite" className="text-xs">
        {problem !== null && (
          <p className="flex flex-wrap items-center gap-x-2 text-danger">
            {strings.json.problem(problem.line, problem.column, problem.message)}
            <button type="button" className="rounded underline" onClick={() => goTo(problem.offset)}>
              {strings.json.goTo}
            </button>
          </p>
        )}
        {problem === null && issues.length === 0 && (
          <p className="flex items-center gap-1 text-soft">
            <Icon name="check" className="size-3.5" />
            {strings.json.ok}
          </p>
        )}
        {issues.length > 0 && (
          <>
            <p className="text-danger">{strings.json.issues}</p>
            <Issues issues={issues} />
          </>
        )}
      </div>
    </div>
  );
}

export function Issues({ issues }: { issues: readonly Issue[] }) {
  return (
    <ul className="text-danger">
      {issues.map(({ path, message }) => (
        <li key={path + message} className="break-words">
          <code dir="ltr" className="font-mono">
            {path || strings.json.whole}
          </code>{" "}
          {message}
        </li>
      ))}
    </ul>
  );
}
