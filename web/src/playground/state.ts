/** What stands in the playground, kept until the tab is closed. Numbers are kept as they were typed. */

export const ROLES = ["system", "user", "assistant"] as const;
export type Role = (typeof ROLES)[number];

export interface Call {
  id: string;
  name: string;
  arguments: string;
}

export interface Message {
  key: string;
  role: Role | "tool";
  content: string;
  /** What the assistant called. */
  calls?: Call[];
  /** The call that this is the result of. */
  callId?: string;
}

export interface Parameters {
  temperature: string;
  top_p: string;
  max_tokens: string;
  seed: string;
  frequency_penalty: string;
  presence_penalty: string;
  /** One a line. */
  stop: string;
  logprobs: boolean;
  top_logprobs: string;
}

export const FORMATS = ["text", "json_object", "json_schema"] as const;

export interface Format {
  type: (typeof FORMATS)[number];
  name: string;
  strict: boolean;
  schema: string;
}

export interface Text {
  key: string;
  text: string;
}

export interface ChatState {
  model: string;
  messages: Message[];
  parameters: Parameters;
  format: Format;
  /** Each the JSON of a function. */
  tools: Text[];
  /** A mode, or `=` and the name of a function: a function may be called "auto" too. */
  toolChoice: string;
}

export interface CompletionState {
  model: string;
  prompt: string;
  suffix: string;
  echo: boolean;
  parameters: Parameters;
}

export interface EmbeddingsState {
  model: string;
  texts: Text[];
  dimensions: string;
}

export interface Playground {
  version: typeof VERSION;
  chat: ChatState;
  completion: CompletionState;
  embeddings: EmbeddingsState;
}

/** Another shape is another version: what was kept before is then forgotten. */
const VERSION = 1;
const KEY = "mainspring.playground";

const PARAMETERS: Parameters = {
  temperature: "",
  top_p: "",
  max_tokens: "",
  seed: "",
  frequency_penalty: "",
  presence_penalty: "",
  stop: "",
  logprobs: false,
  top_logprobs: "5",
};

const SCHEMA = {
  type: "object",
  properties: {
    name: { type: "string" },
    age: { type: "integer" },
    likes: { type: "array", items: { type: "string" } },
  },
  required: ["name", "age", "likes"],
  additionalProperties: false,
};

export const EXAMPLE_TOOL = {
  name: "get_weather",
  description: "The weather of a place, now.",
  parameters: {
    type: "object",
    properties: {
      place: { type: "string", description: "A city and its country." },
      unit: { type: "string", enum: ["celsius", "fahrenheit"] },
    },
    required: ["place", "unit"],
    additionalProperties: false,
  },
  strict: true,
};

export function newKey(): string {
  return Math.random().toString(36).slice(2);
}

export function written(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

export function initial(): Playground {
  return {
    version: VERSION,
    chat: {
      model: "",
      messages: [
        { key: newKey(), role: "system", content: "You are a helpful assistant." },
        { key: newKey(), role: "user", content: "" },
      ],
      parameters: PARAMETERS,
      format: { type: "text", name: "answer", strict: true, schema: written(SCHEMA) },
      tools: [],
      toolChoice: "auto",
    },
    completion: {
      model: "",
      prompt: "Once upon a time",
      suffix: "",
      echo: false,
      parameters: { ...PARAMETERS, max_tokens: "64" },
    },
    embeddings: {
      model: "",
      texts: ["A cat sleeps on the sofa.", "The kitten naps on a couch.", "Interest rates went up today."].map(
        (text) => ({
          key: newKey(),
          text,
        }),
      ),
      dimensions: "",
    },
  };
}

export function load(storage: Storage): Playground {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? "null");
    if (kept?.version === VERSION) return kept;
  } catch {
    // Not ours, or cut off.
  }
  return initial();
}

/** A text too large for the browser's storage is not kept, and still there. */
export function save(storage: Storage, state: Playground): void {
  try {
    storage.setItem(KEY, JSON.stringify(state));
  } catch {
    storage.removeItem(KEY);
  }
}
