/** Whether an answer matches its schema. Loaded, with the validator, when the first answer of a schema is there. */

import { useMemo } from "react";
import { Issues } from "./JsonEditor";
import type { Issue } from "./schema";
import { strings } from "./strings";
import { Bad, Good } from "./Verdict";
import { validate } from "./validate";

export default function SchemaVerdict({ value, schema }: { value: unknown; schema: object }) {
  const issues = useMemo(() => tried(value, schema), [value, schema]);
  if (typeof issues === "string") return <Bad>{strings.format.unusable(issues)}</Bad>;
  if (issues.length === 0) return <Good>{strings.format.matches}</Good>;
  return (
    <div className="text-sm">
      <Bad>{strings.format.differs}</Bad>
      <Issues issues={issues} />
    </div>
  );
}

function tried(value: unknown, schema: object): Issue[] | string {
  try {
    return validate(value, schema);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
