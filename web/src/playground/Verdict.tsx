/** Whether an answer is the JSON that was asked for. */

import { lazy, Suspense, useMemo } from "react";
import { Boundary } from "../ui/Boundary";
import { Icon } from "../ui/Icon";
import { isObject, parseJson } from "./json";
import { strings } from "./strings";

const SchemaVerdict = lazy(() => import("./SchemaVerdict"));

interface Props {
  text: string;
  /** Of the request that this is the answer to. */
  format: unknown;
}

export function Verdict({ text, format }: Props) {
  const { value, problem } = useMemo(() => parseJson(text), [text]);
  if (!isObject(format)) return null;
  if (problem !== null) {
    return <Bad>{strings.format.broken(problem.line, problem.column, problem.message)}</Bad>;
  }
  if (format.type === "json_object")
    return isObject(value) ? <Good>{strings.format.isObject}</Good> : <Bad>{strings.format.isNoObject}</Bad>;
  const schema = isObject(format.json_schema) ? format.json_schema.schema : null;
  if (!isObject(schema)) return null;
  return (
    <Boundary fallback={<Bad>{strings.format.unusable("")}</Bad>}>
      <Suspense fallback={null}>
        <SchemaVerdict value={value} schema={schema} />
      </Suspense>
    </Boundary>
  );
}

export function Good({ children }: { children: string }) {
  return (
    <p className="flex items-center gap-1.5 text-accent text-sm">
      <Icon name="check" className="size-4" />
      {children}
    </p>
  );
}

export function Bad({ children }: { children: string }) {
  return (
    <p className="flex items-center gap-1.5 text-danger text-sm">
      <Icon name="alert" className="size-4" />
      {children}
    </p>
  );
}
