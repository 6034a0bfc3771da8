/** What forms of jobs ask the server for. What is entered wrong is sent as it is: the server says best what is wrong. */

import { ApiError } from "../../api/client";
import { textIn } from "../parts/FormDialog";
import { words } from "../strings";

export const METHODS = ["supervised", "dpo", "reinforcement", "reward"] as const;
export type Method = (typeof METHODS)[number];

/** What each method lets one choose, beside what all have. */
const MORE: Record<Method, readonly string[]> = {
  supervised: [],
  dpo: ["beta"],
  reinforcement: ["beta", "compute_multiplier", "eval_interval", "eval_samples"],
  reward: [],
};

export function hyperparametersOf(method: Method): readonly string[] {
  return ["n_epochs", "batch_size", "learning_rate_multiplier", ...MORE[method]];
}

/** A number if it is one; what else was entered stays what it is. */
export function numberOr(text: string): number | string {
  const value = Number(text.replace(",", "."));
  return text === "" || Number.isNaN(value) ? text : value;
}

/** @throws ApiError of this field, as if the server had said it. */
function jsonIn(form: FormData, name: string): unknown {
  try {
    return JSON.parse(textIn(form, name));
  } catch (error) {
    throw new ApiError(400, "invalid_json", words.jobs.notJson(String((error as Error).message)), name);
  }
}

function hyperparametersIn(form: FormData, method: Method): Record<string, number | string> {
  const given = hyperparametersOf(method).map((name) => [name, textIn(form, name)] as const);
  return Object.fromEntries(given.filter(([, text]) => text !== "").map(([name, text]) => [name, numberOr(text)]));
}

/** The body of a fine-tuning job. Throws as `jsonIn` does. */
export function fineTuningBody(form: FormData): Record<string, unknown> {
  const type = textIn(form, "method") as Method;
  const grader = type === "reinforcement" && { grader: jsonIn(form, "grader") };
  const optional = ["validation_file", "suffix"].map((name) => [name, textIn(form, name)] as const);
  const seed = textIn(form, "seed");
  return {
    model: textIn(form, "model"),
    training_file: textIn(form, "training_file"),
    ...Object.fromEntries(optional.filter(([, text]) => text !== "")),
    ...(seed !== "" && { seed: numberOr(seed) }),
    method: { type, [type]: { ...grader, hyperparameters: hyperparametersIn(form, type) } },
  };
}

export const ENDPOINTS = ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings"] as const;

export function batchBody(form: FormData): Record<string, unknown> {
  return {
    input_file_id: textIn(form, "input_file_id"),
    endpoint: textIn(form, "endpoint"),
    completion_window: "24h",
  };
}

export const OPERATIONS = ["eq", "ne", "like", "ilike"] as const;
export const METRICS = ["fuzzy_match", "bleu", "gleu", "meteor", "cosine", "rouge_1", "rouge_l"] as const;
export const GRADERS = ["string_check", "text_similarity", "python", "json"] as const;
export type Grader = (typeof GRADERS)[number];

/** The names of the fields that items have, as they are written in a line: "question, answer". */
export function itemFields(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/).filter(Boolean))];
}

function graderIn(form: FormData): unknown {
  const type = textIn(form, "grader_type") as Grader;
  const common = { type, name: textIn(form, "grader_name") };
  const compared = { ...common, input: textIn(form, "input"), reference: textIn(form, "reference") };
  const threshold = { pass_threshold: numberOr(textIn(form, "pass_threshold")) };
  if (type === "string_check") return { ...compared, operation: textIn(form, "operation") };
  if (type === "text_similarity") {
    return { ...compared, evaluation_metric: textIn(form, "evaluation_metric"), ...threshold };
  }
  if (type === "python") return { ...common, source: textIn(form, "source"), ...threshold };
  return jsonIn(form, "testing_criteria");
}

/** The body of an evaluation, whose items have fields that are texts. Throws as `jsonIn` does. */
export function evalBody(form: FormData): Record<string, unknown> {
  const fields = itemFields(textIn(form, "item_schema"));
  const grader = graderIn(form);
  return {
    name: textIn(form, "name"),
    data_source_config: {
      type: "custom",
      item_schema: {
        type: "object",
        properties: Object.fromEntries(fields.map((field) => [field, { type: "string" }])),
        required: fields,
      },
      include_sample_schema: true,
    },
    testing_criteria: Array.isArray(grader) ? grader : [grader],
  };
}

/** The body of a run: a model answers each item of a file, asked with a template. */
export function runBody(form: FormData): Record<string, unknown> {
  const system = textIn(form, "system");
  const most = textIn(form, "max_completion_tokens");
  return {
    name: textIn(form, "name"),
    data_source: {
      type: "completions",
      model: textIn(form, "model"),
      source: { type: "file_id", id: textIn(form, "source") },
      input_messages: {
        type: "template",
        template: [
          ...(system === "" ? [] : [{ role: "system", content: system }]),
          { role: "user", content: textIn(form, "template") },
        ],
      },
      sampling_params: {
        temperature: numberOr(textIn(form, "temperature")),
        ...(most !== "" && { max_completion_tokens: numberOr(most) }),
      },
    },
  };
}
