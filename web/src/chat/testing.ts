/** Turns and events for tests. */

import type { ResponseEvent, Turn } from "../api/types";

export function turn(id: string, previous: string | null = null, rest: Partial<Turn> = {}): Turn {
  return {
    id,
    previous,
    created_at: 1,
    status: "queued",
    model: "m",
    input: [],
    output: [],
    usage: null,
    error: null,
    incomplete_details: null,
    ...rest,
  };
}

/** How an answer of two deltas is told. */
export function eventsOf(answer: Turn): ResponseEvent[] {
  const at = { output_index: 0, content_index: 0 };
  const logprob = (token: string) => [{ token, logprob: -0.1, bytes: null, top_logprobs: [] }];
  const message = { type: "message", id: "msg_1", role: "assistant" } as const;
  const content = [{ type: "output_text", text: "Hello", logprobs: [...logprob("Hel"), ...logprob("lo")] }];
  const output = [{ ...message, content }];
  const events = [
    { type: "response.created", response: answer },
    { type: "response.in_progress", response: { ...answer, status: "in_progress" } },
    { type: "response.output_item.added", output_index: 0, item: { ...message, content: [] } },
    { type: "response.content_part.added", ...at, part: { type: "output_text", text: "" } },
    { type: "response.output_text.delta", ...at, delta: "Hel", logprobs: logprob("Hel") },
    { type: "response.output_text.delta", ...at, delta: "lo", logprobs: logprob("lo") },
    { type: "response.output_item.done", output_index: 0, item: output[0] },
    { type: "response.completed", response: { ...answer, status: "completed", output } },
  ];
  return events.map((event, sequence_number) => ({ ...event, sequence_number }) as ResponseEvent);
}
