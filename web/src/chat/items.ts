/** What the items of a turn say, in plain text. */

import type { Item, Part, Turn } from "../api/types";

export function partsOf({ content = [] }: Item): Part[] {
  return typeof content === "string" ? [{ type: "input_text", text: content }] : content;
}

/** An input that asks `text`. */
export function question(text: string): Item[] {
  return [{ type: "message", role: "user", content: [{ type: "input_text", text }] }];
}

/** The input of a turn, to be asked again. What the server added to it is the server's to add anew. */
export function askedAgain(input: Item[]): Item[] {
  return input.map(({ id, status, ...item }) => item);
}

export function questionText(input: Item[]): string {
  return messageText(input.filter((item) => item.role === "user"));
}

export function answerText({ output }: Turn): string {
  return messageText(output);
}

/** What is shown of a thought: its summary if there is one, which is written to be read. */
export function thoughtText({ summary = [], ...item }: Item): string {
  const parts = summary.length > 0 ? summary : partsOf(item);
  return parts.map((part) => part.text ?? "").join("\n\n");
}

/** Whether the model said how likely its words were. */
export function hasWords({ output }: Turn): boolean {
  return output.some((item) => item.type === "message" && partsOf(item).some((part) => part.logprobs?.length));
}

function messageText(items: Item[]): string {
  const parts = items.filter((item) => item.type === "message").flatMap(partsOf);
  return parts.map((part) => part.text ?? "").join("");
}
