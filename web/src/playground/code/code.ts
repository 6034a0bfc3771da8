/** The program that sends a request: in three languages, for OpenAI's clients and for Azure's. */

import type { Body } from "../request";
import { curl } from "./curl";
import { node } from "./node";
import { python } from "./python";

export const LANGUAGES = ["python", "node", "curl"] as const;
export type Language = (typeof LANGUAGES)[number];

export const DIALECTS = ["openai", "azure"] as const;
export type Dialect = (typeof DIALECTS)[number];

export type Operation = "chat" | "completion" | "embeddings";

export const PATHS: Record<Operation, string> = {
  chat: "chat/completions",
  completion: "completions",
  embeddings: "embeddings",
};

/** The newest that is no preview; the server takes every date. */
export const API_VERSION = "2024-10-21";
export const KEY_VARIABLE = "MAINSPRING_API_KEY";

export interface Source {
  operation: Operation;
  body: Body;
  /** Whether the program writes the answer as it comes. */
  streams: boolean;
  dialect: Dialect;
  /** The address of the server, without a slash at its end. */
  server: string;
}

const WRITERS: Record<Language, (source: Source) => string> = { python, node, curl };

export function codeOf(language: Language, source: Source): string {
  return WRITERS[language](source);
}

/** Whether the answer may be something else than a text. */
export function hasTools({ body }: Source): boolean {
  return Array.isArray(body.tools) && body.tools.length > 0;
}
