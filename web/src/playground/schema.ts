/**
 * Whether a JSON value can be a schema, and one of the strict subset: what the server would refuse is said while it is
 * written. The server has the last word.
 */

import { isObject } from "./json";
import { strings } from "./strings";

export interface Issue {
  /** A JSON pointer; empty for the whole. */
  path: string;
  message: string;
}

type Node = Record<string, unknown>;

const TYPES = new Set(["string", "number", "integer", "boolean", "object", "array", "null"]);
const GROUPS = ["properties", "patternProperties", "$defs", "definitions"];
const LISTS = ["anyOf", "oneOf", "allOf", "prefixItems"];
const MAX_ISSUES = 20;

export function checkSchema(schema: unknown, strict: boolean): Issue[] {
  if (!isObject(schema)) return [{ path: "", message: strings.schema.object }];
  const issues: Issue[] = [];
  const report = (path: string, message: string) => void issues.push({ path, message });
  if (strict) checkRoot(schema, report);
  const todo: [string, unknown][] = [["", schema]];
  for (let next = todo.shift(); next !== undefined && issues.length < MAX_ISSUES; next = todo.shift()) {
    const [path, node] = next;
    // true and false are schemas too.
    if (typeof node === "boolean") continue;
    if (!isObject(node)) {
      report(path, strings.schema.schema);
      continue;
    }
    checkNode(node, path, schema, report);
    if (strict) checkStrict(node, path, report);
    todo.push(...childrenOf(node, path, report));
  }
  return issues;
}

type Report = (path: string, message: string) => void;

function checkRoot(schema: Node, report: Report): void {
  let root: Node = schema;
  for (let hops = 0; typeof root.$ref === "string" && root.type === undefined && hops < 16; hops++) {
    const found = resolve(schema, root.$ref);
    if (found === undefined) return;
    root = found;
  }
  if ("anyOf" in root || "oneOf" in root) report("", strings.schema.choice);
  else if (root.type !== "object") report("", strings.schema.root);
}

function checkNode(node: Node, path: string, root: Node, report: Report): void {
  const { type, required, enum: values, pattern, $ref } = node;
  for (const each of Array.isArray(type) ? type : [type]) {
    if (each !== undefined && !TYPES.has(each)) report(`${path}/type`, strings.schema.type(JSON.stringify(each)));
  }
  if (required !== undefined && !isListOfNames(required)) report(`${path}/required`, strings.schema.names);
  if (values !== undefined && !(Array.isArray(values) && values.length > 0))
    report(`${path}/enum`, strings.schema.values);
  if (pattern !== undefined) checkPattern(pattern, `${path}/pattern`, report);
  if ($ref !== undefined) checkReference($ref, `${path}/$ref`, root, report);
}

function isListOfNames(value: unknown): boolean {
  return Array.isArray(value) && value.every((name) => typeof name === "string");
}

function checkReference(reference: unknown, path: string, root: Node, report: Report): void {
  if (typeof reference !== "string" || !reference.startsWith("#")) report(path, strings.schema.within);
  else if (resolve(root, reference) === undefined) report(path, strings.schema.nowhere(reference));
}

function checkPattern(pattern: unknown, path: string, report: Report): void {
  try {
    new RegExp(String(pattern), "u");
    if (typeof pattern !== "string") report(path, strings.schema.pattern);
  } catch {
    report(path, strings.schema.pattern);
  }
}

function checkStrict(node: Node, path: string, report: Report): void {
  const { type, properties } = node;
  const isOfObjects = type === "object" || (Array.isArray(type) && type.includes("object")) || "properties" in node;
  if (!isOfObjects) return;
  if (node.additionalProperties !== false) report(path, strings.schema.closed);
  const required = Array.isArray(node.required) ? node.required : [];
  const names = isObject(properties) ? Object.keys(properties) : [];
  for (const name of names) {
    if (!required.includes(name)) report(`${path}/properties/${escaped(name)}`, strings.schema.required);
  }
  for (const name of required) {
    if (typeof name === "string" && !names.includes(name)) report(`${path}/required`, strings.schema.unknown(name));
  }
}

function childrenOf(node: Node, path: string, report: Report): [string, unknown][] {
  const children: [string, unknown][] = [];
  for (const key of GROUPS.filter((each) => node[each] !== undefined)) {
    const group = node[key];
    if (!isObject(group)) report(`${path}/${key}`, strings.schema.schemas);
    else for (const [name, child] of Object.entries(group)) children.push([`${path}/${key}/${escaped(name)}`, child]);
  }
  for (const key of LISTS.filter((each) => node[each] !== undefined)) {
    const list = node[key];
    if (!Array.isArray(list)) report(`${path}/${key}`, strings.schema.list);
    else children.push(...list.map((child, index): [string, unknown] => [`${path}/${key}/${index}`, child]));
  }
  if (isObject(node.additionalProperties)) children.push([`${path}/additionalProperties`, node.additionalProperties]);
  // A list is how older drafts wrote prefixItems.
  if (node.items !== undefined && !Array.isArray(node.items)) children.push([`${path}/items`, node.items]);
  return children;
}

function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

function resolve(root: Node, reference: string): Node | undefined {
  let here: unknown = root;
  for (const part of reference.slice(1).split("/").slice(1)) {
    const name = decoded(part).replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(here)) here = here[Number(name)];
    else here = isObject(here) && Object.hasOwn(here, name) ? here[name] : undefined;
  }
  return isObject(here) ? here : undefined;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
