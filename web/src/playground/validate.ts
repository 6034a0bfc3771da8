/** Whether an answer is what the schema says. The validator interprets: others compile with `eval`, which the policy forbids. */

import { type OutputUnit, type Schema, Validator } from "@cfworker/json-schema";
import type { Issue } from "./schema";
import { strings } from "./strings";

/** What is wrong with `value`: nothing if it matches. Throws if `schema` cannot be used. */
export function validate(value: unknown, schema: object): Issue[] {
  const { valid, errors } = new Validator(schema as Schema, "2020-12", false).validate(value);
  if (valid) return [];
  const causes = errors.filter((each) => !errors.some((other) => isWithin(other, each)));
  return causes.map(({ instanceLocation, keyword, error }) => ({
    path: instanceLocation.replace(/^#/, ""),
    message: keyword === "false" ? strings.schema.forbidden : error,
  }));
}

/** Whether `one` says why `other` is so. A schema that is `false` is not said to be where it is. */
function isWithin(one: OutputUnit, other: OutputUnit): boolean {
  if (one.keyword === "false" && other.keyword === "additionalProperties")
    return one.instanceLocation.startsWith(`${other.instanceLocation}/`);
  return one.keywordLocation.startsWith(`${other.keywordLocation}/`);
}
