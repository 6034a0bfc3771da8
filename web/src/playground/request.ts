/** The body of a request, from what stands in the playground; or what keeps it from being one. */

import { isObject, parseJson } from "./json";
import type { ChatState, CompletionState, EmbeddingsState, Message, Parameters, Text } from "./state";
import { strings } from "./strings";

export type Body = { model: string } & Record<string, unknown>;

export type Built = { body: Body; problems: null } | { body: null; problems: Problem[] };

/** What is wrong with which field. */
export interface Problem {
  field: string;
  message: string;
}

export interface NumberSpec {
  name: Exclude<keyof Parameters, "stop" | "logprobs">;
  min?: number;
  max?: number;
  isInteger?: boolean;
}

export const NUMBERS: readonly NumberSpec[] = [
  { name: "temperature", min: 0, max: 2 },
  { name: "top_p", min: 0, max: 1 },
  { name: "max_tokens", min: 1, isInteger: true },
  { name: "seed", isInteger: true },
  { name: "frequency_penalty", min: -2, max: 2 },
  { name: "presence_penalty", min: -2, max: 2 },
];

export function topLogprobs(of: "chat" | "completion"): NumberSpec {
  return { name: "top_logprobs", min: 0, max: of === "chat" ? 20 : 5, isInteger: true };
}

const MAX_STOPS = 4;

/** What is wrong with a number, or null. An empty one is the model's own to choose. */
export function numberProblem(text: string, { min, max, isInteger }: Omit<NumberSpec, "name">): string | null {
  if (text.trim() === "") return null;
  const value = Number(text);
  if (!Number.isFinite(value)) return strings.wrong.number;
  if (isInteger && !Number.isSafeInteger(value)) return strings.wrong.integer;
  if (min !== undefined && value < min) return strings.wrong.least(min);
  if (max !== undefined && value > max) return strings.wrong.most(max);
  return null;
}

/** One a line; `\n` and `\t` in a line are a line break and a tab, `\\` a backslash. */
export function stopsOf(text: string): string[] {
  const escapes: Record<string, string> = { n: "\n", t: "\t", r: "\r", "\\": "\\" };
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => line.replaceAll(/\\([ntr\\])/g, (_, name: string) => escapes[name] ?? name));
}

class Builder {
  readonly body: Record<string, unknown> = {};
  readonly problems: Problem[] = [];

  constructor(readonly model: string) {
    if (model === "") this.wrong("model", strings.wrong.model);
  }

  wrong(field: string, message: string): void {
    this.problems.push({ field, message });
  }

  number(spec: Omit<NumberSpec, "name">, text: string, field: string, name: string = field): void {
    const problem = numberProblem(text, spec);
    if (problem !== null) this.wrong(field, problem);
    else if (text.trim() !== "") this.body[name] = Number(text);
  }

  parameters(parameters: Parameters, of: "chat" | "completion"): void {
    for (const spec of NUMBERS) {
      const name = spec.name === "max_tokens" && of === "chat" ? "max_completion_tokens" : spec.name;
      this.number(spec, parameters[spec.name], spec.name, name);
    }
    const stops = stopsOf(parameters.stop);
    if (stops.length > MAX_STOPS) this.wrong("stop", strings.wrong.many(MAX_STOPS));
    else if (stops.length > 0) this.body.stop = stops;
    if (!parameters.logprobs) return;
    if (of === "chat") this.body.logprobs = true;
    else this.body.logprobs = 0;
    this.number(topLogprobs(of), parameters.top_logprobs, "top_logprobs", of === "chat" ? "top_logprobs" : "logprobs");
  }

  built(): Built {
    if (this.problems.length > 0) return { body: null, problems: this.problems };
    return { body: { model: this.model, ...this.body }, problems: null };
  }
}

export function chatRequest({ model, messages, parameters, format, tools, toolChoice }: ChatState): Built {
  const builder = new Builder(model);
  const { body } = builder;
  if (messages.length === 0) builder.wrong("messages", strings.wrong.noMessage);
  body.messages = messages.map(wireMessage);
  const functions = tools.map((tool, index) => functionOf(tool, index, builder));
  if (functions.length > 0) {
    body.tools = functions.map((each) => ({ type: "function", function: each }));
    if (toolChoice.startsWith("=")) body.tool_choice = { type: "function", function: { name: toolChoice.slice(1) } };
    else if (toolChoice !== "auto") body.tool_choice = toolChoice;
  }
  if (format.type === "json_object") body.response_format = { type: "json_object" };
  if (format.type === "json_schema") {
    const { value, problem } = parseJson(format.schema);
    if (problem !== null || !isObject(value)) builder.wrong("schema", strings.wrong.schema);
    const { name, strict } = format;
    body.response_format = { type: "json_schema", json_schema: { name, strict, schema: value } };
  }
  builder.parameters(parameters, "chat");
  return builder.built();
}

function wireMessage({ role, content, calls, callId }: Message): object {
  if (role === "tool") return { role, tool_call_id: callId, content };
  if (role !== "assistant" || calls === undefined || calls.length === 0) return { role, content };
  const wire = calls.map(({ id, name, arguments: given }) => ({
    id,
    type: "function",
    function: { name, arguments: given },
  }));
  return { role, content: content === "" ? null : content, tool_calls: wire };
}

/** Written as a function, or as a tool with the function in it, as OpenAI's documentation has them. */
export function parseTool(text: string): Record<string, unknown> | null {
  const { value } = parseJson(text);
  const found = isObject(value) && value.type === "function" && isObject(value.function) ? value.function : value;
  return isObject(found) ? found : null;
}

export function toolName(text: string): string {
  const name = parseTool(text)?.name;
  return typeof name === "string" ? name : "";
}

function functionOf({ text }: Text, index: number, builder: Builder): Record<string, unknown> {
  const found = parseTool(text);
  if (found === null) builder.wrong("tools", strings.wrong.tool(index + 1));
  else if (typeof found.name !== "string") builder.wrong("tools", strings.wrong.toolName(index + 1));
  return found ?? {};
}

export function completionRequest({ model, prompt, suffix, echo, parameters }: CompletionState): Built {
  const builder = new Builder(model);
  builder.body.prompt = prompt;
  if (suffix !== "") builder.body.suffix = suffix;
  if (echo) builder.body.echo = true;
  builder.parameters(parameters, "completion");
  return builder.built();
}

export const DIMENSIONS = { min: 1, isInteger: true };

export function embeddingsRequest({ model, texts, dimensions }: EmbeddingsState): Built {
  const builder = new Builder(model);
  if (texts.length === 0) builder.wrong("texts", strings.wrong.noText);
  texts.forEach(({ text }, index) => {
    if (text === "") builder.wrong("texts", strings.wrong.emptyText(index + 1));
  });
  builder.body.input = texts.map(({ text }) => text);
  builder.number(DIMENSIONS, dimensions, "dimensions");
  return builder.built();
}
