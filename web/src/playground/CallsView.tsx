/** What the model calls, and where one types what these calls return. */

import { type FormEvent, useState } from "react";
import { Button } from "../ui/Button";
import { TextField } from "../ui/Field";
import { parseJson } from "./json";
import type { Call } from "./state";
import { strings } from "./strings";

interface Props {
  calls: Call[];
  /** Takes what each call returned, in their order; null while the answer is still being made. */
  onResults: ((results: string[]) => void) | null;
}

export function CallsView({ calls, onResults }: Props) {
  const [results, setResults] = useState<Record<string, string>>({});
  if (calls.length === 0) return null;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onResults?.(calls.map(({ id }) => results[id] ?? ""));
  };
  return (
    <form onSubmit={submit} className="flex flex-col gap-3">
      <h3 className="font-medium text-sm">{strings.tools.calls}</h3>
      {calls.map((call, at) => (
        <div key={call.id} className="flex flex-col gap-2 rounded-lg border border-line bg-page p-3">
          <pre dir="ltr" className="whitespace-pre-wrap break-words font-mono text-sm">
            <code>
              {call.name}({pretty(call.arguments)})
            </code>
          </pre>
          {onResults !== null && <BadArguments text={call.arguments} />}
          {onResults !== null && (
            <TextField
              label={strings.tools.result(call.name, calls.length > 1 ? at + 1 : null)}
              rows={2}
              dir="auto"
              value={results[call.id] ?? ""}
              onChange={(event) => setResults({ ...results, [call.id]: event.target.value })}
            />
          )}
        </div>
      ))}
      {onResults !== null && (
        <Button look="primary" type="submit" className="self-start">
          {strings.tools.go}
        </Button>
      )}
    </form>
  );
}

/** As it is while it is not whole. */
function pretty(text: string): string {
  const { value, problem } = parseJson(text);
  return problem === null ? JSON.stringify(value, null, 2) : text;
}

function BadArguments({ text }: { text: string }) {
  const { problem } = parseJson(text);
  if (problem === null) return null;
  return (
    <p className="text-danger text-xs">
      {strings.tools.badCall} {strings.json.problem(problem.line, problem.column, problem.message)}
    </p>
  );
}
