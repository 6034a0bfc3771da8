/** Files that a chat is asked about: uploaded, and put into the vector store that its answers are searched in. */

import { get, post, remove, upload } from "../../api/client";

export interface Stored {
  id: string;
  status: "in_progress" | "completed" | "failed" | "cancelled";
  last_error: { code: string; message: string } | null;
  attributes: Record<string, unknown> | null;
}

const STORES = "v1/vector_stores";
/** The most that the server lists at once. */
const FILES_A_PAGE = 100;
/** The most characters that an attribute of a file may have. */
const LONGEST_NAME = 512;

export async function createStore(): Promise<string> {
  return (await post<{ id: string }>(STORES)).id;
}

/** The files of a store, oldest first. */
export async function listFiles(store: string): Promise<Stored[]> {
  const found: Stored[] = [];
  for (let more = true; more; ) {
    const after = found.at(-1)?.id;
    const query = new URLSearchParams({ limit: String(FILES_A_PAGE), order: "asc", ...(after && { after }) });
    const page = await get<{ data: Stored[]; has_more: boolean }>(`${STORES}/${store}/files?${query}`);
    found.push(...page.data);
    more = page.has_more;
  }
  return found;
}

/** Send a file; `tell` hears which part of it has arrived. */
export async function sendFile(file: File, tell: (part: number) => void, signal: AbortSignal): Promise<string> {
  const form = new FormData();
  form.set("purpose", "assistants");
  form.set("file", file, file.name);
  return (await upload<{ id: string }>("v1/files", form, tell, signal)).id;
}

/** Have a file read. Stores know files by their ids alone, so the name goes along. */
export function attach(store: string, file: string, name: string): Promise<Stored> {
  return post(`${STORES}/${store}/files`, { file_id: file, attributes: { filename: name.slice(0, LONGEST_NAME) } });
}

export function getFile(store: string, file: string): Promise<Stored> {
  return get(`${STORES}/${store}/files/${file}`);
}

/** Delete a store with the files in it. */
export async function removeStore(store: string): Promise<void> {
  for (const { id } of await listFiles(store)) await removeFile(id);
  await remove(`${STORES}/${store}`);
}

/** Delete a file from everywhere. */
export function removeFile(file: string): Promise<unknown> {
  return remove(`v1/files/${file}`);
}
