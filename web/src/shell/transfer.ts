/** Chats out of this server and into it, as files. */

import { post } from "../api/client";

/** A server reads no more at once. */
const MOST_BYTES = 8_000_000;

interface Imported {
  imported: string[];
  known: string[];
}

/**
 * Import a file: an export of these pages, or ChatGPT's `conversations.json`; how many chats are new.
 *
 * @throws Error if it is neither, or the server refuses.
 */
export async function importChats(file: Blob): Promise<number> {
  const found: unknown = JSON.parse(await file.text());
  const isOurs = typeof found === "object" && found !== null && "chats" in found && Array.isArray(found.chats);
  const name = isOurs ? "chats" : "conversations";
  const all = isOurs ? (found as { chats: unknown[] }).chats : found;
  if (!Array.isArray(all)) throw new TypeError("no export");
  if (isOurs) await post("v1/x/chats/import", besideChats(found));
  let count = 0;
  for (const some of inPortions(all)) {
    const { imported } = await post<Imported>("v1/x/chats/import", { [name]: some });
    count += imported.length;
  }
  return count;
}

/** What an export has beside its chats; those of older servers have none. */
export function besideChats(found: object): object {
  const { presets, instructions } = found as { presets?: unknown; instructions?: unknown };
  return { ...(presets !== undefined && { presets }), ...(instructions != null && { instructions }) };
}

/** Parts of a list, each as long as a request may be. */
export function* inPortions(all: readonly unknown[], most = MOST_BYTES): Generator<unknown[]> {
  let portion: unknown[] = [];
  let size = 0;
  for (const each of all) {
    const bytes = JSON.stringify(each).length;
    if (portion.length > 0 && size + bytes > most) {
      yield portion;
      portion = [];
      size = 0;
    }
    portion.push(each);
    size += bytes;
  }
  if (portion.length > 0) yield portion;
}
