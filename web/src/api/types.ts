/**
 * What the server's API says, as these pages read it. `schemas.ts` is generated from the server's own description; by hand
 * is what that leaves open: settings, which are the pages' own, and items, their parts and the events that tell of them,
 * which are OpenAI's, of many types, and more may come. Of those the pages read the fields below and no others.
 */

import type * as schemas from "./schemas";

export type { ChatShare, Model, SessionState as Session } from "./schemas";

export interface Page<T> {
  data: T[];
  last_id: string;
  has_more: boolean;
}

/** The page's own object, kept with a chat. What is absent is the server's to choose. */
export interface ChatSettings {
  model?: string;
  instructions?: string;
  temperature?: number;
  top_p?: number;
  max_output_tokens?: number;
  seed?: number;
  /** Of the files that the chat is asked about. The page's own: no setting of a turn. */
  vector_store?: string;
  /** The assistant that the chat began with, as it was then. The page's own. */
  preset?: ChatPreset;
  /** What else every question is asked to. The page's own. */
  versus?: ChatSettings;
  /** The answers that stand side by side until one is chosen. The page's own. */
  compared?: Compared[];
}

/** What a chat keeps of its assistant beside the settings that it gave. */
export interface ChatPreset {
  id: string;
  name: string;
  icon: string;
  /** Of its files, which are not the chat's to change. */
  vector_store?: string;
}

/** A turn, and what made it as a person tells it from another. */
export interface Compared {
  id: string;
  label: string;
}

export type Chat = Omit<schemas.Chat, "object" | "expires_at" | "settings"> & { settings: ChatSettings };

export type ChatUpdate = Partial<Pick<Chat, "title" | "folder" | "tags" | "pinned" | "settings" | "head">>;

export type Status = schemas.Response["status"];

export type Usage = Pick<schemas.ResponseUsage, "input_tokens" | "output_tokens"> &
  Partial<Pick<schemas.ResponseUsage, "input_tokens_details">>;

/** Of an event, `code` may be null. */
export type Problem = Omit<schemas.ResponseError, "code"> & { code: string | null };

/** What a response has beside its input: of a turn, and of the events that tell of it. */
export interface Outcome extends Pick<schemas.Response, "status" | "model"> {
  output: Item[];
  usage: Usage | null;
  error: Problem | null;
  incomplete_details: schemas.IncompleteDetails | null;
  completed_at?: schemas.Response["completed_at"];
}

export type Response = Outcome & Pick<schemas.Response, "id" | "created_at">;

/** A question and its answer. Turns with the same `previous` are siblings. */
export interface Turn extends Response, Pick<schemas.ChatTurn, "previous"> {
  input: Item[];
}

export interface Item {
  type: string;
  id?: string;
  role?: "user" | "assistant" | "system" | "developer";
  status?: string;
  content?: Part[] | string;
  summary?: Part[];
  /** Of a search in files: what was looked for, and what was found, best first. */
  queries?: string[];
  results?: Passage[] | null;
}

export interface Passage {
  file_id: string;
  filename: string;
  text: string;
}

export interface Part {
  type: string;
  text?: string;
  refusal?: string;
  logprobs?: LogProb[];
  annotations?: Annotation[];
}

/** What a text cites. Of types other than `file_citation` only the type is known. */
export interface Annotation {
  type: string;
  file_id?: string;
  filename?: string;
  /** Where in the text: code points, of which JavaScript counts some as two. */
  index?: number;
  /** Whether the passage bears the sentence out. */
  supported?: boolean;
}

/** Natural logarithms. The bytes of one token need not be whole characters. */
export interface LogProb {
  token: string;
  logprob: number;
  bytes: number[] | null;
  top_logprobs: { token: string; logprob: number; bytes: number[] | null }[];
}

interface OfItem {
  sequence_number: number;
  output_index: number;
}

interface OfPart extends OfItem {
  content_index: number;
}

interface OfSummary extends OfItem {
  summary_index: number;
}

export type ResponseEvent =
  | {
      type: `response.${"created" | Status}`;
      sequence_number: number;
      response: Response;
    }
  | ({ type: "response.output_item.added" | "response.output_item.done"; item: Item } & OfItem)
  | ({ type: "response.content_part.added" | "response.content_part.done"; part: Part } & OfPart)
  | ({ type: "response.output_text.delta"; delta: string; logprobs?: LogProb[] } & OfPart)
  | ({
      type: "response.output_text.annotation.added";
      annotation_index: number;
      annotation: Annotation;
    } & OfPart)
  | ({ type: "response.refusal.delta" | "response.reasoning_text.delta"; delta: string } & OfPart)
  | ({ type: "response.reasoning_summary_part.added" | "response.reasoning_summary_part.done"; part: Part } & OfSummary)
  | ({ type: "response.reasoning_summary_text.delta"; delta: string } & OfSummary)
  | ({ type: "error"; sequence_number: number } & Problem);
