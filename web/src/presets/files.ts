/** The files of assistants: those of a copy are copies, since each may be deleted with its assistant. */

import { send } from "../api/client";
import { attach, createStore, listFiles, sendFile } from "../chat/files/api";

/** A store with copies of what is in another one. */
export async function copyFiles(store: string): Promise<string> {
  const made = await createStore();
  for (const { id, attributes } of await listFiles(store)) {
    const name = String(attributes?.filename ?? id);
    const content = await (await send("GET", `v1/files/${id}/content`)).blob();
    const copy = await sendFile(new File([content], name), () => {}, new AbortController().signal);
    await attach(made, copy, name);
  }
  return made;
}
