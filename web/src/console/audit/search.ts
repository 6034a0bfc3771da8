/** Finding changes. Pure. */

export interface Entry {
  seq: number;
  time: number;
  actor: string;
  action: string;
  subject: string;
  detail: Record<string, unknown>;
  hash: string;
}

/** Whether all words are somewhere in a change, or in the name of whoever made it. */
export function has({ actor, action, subject, detail }: Entry, actorName: string, search: string): boolean {
  const text = [actor, actorName, action, subject, JSON.stringify(detail)].join("\n").toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
