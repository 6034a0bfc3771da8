/** What was attached to a chat goes with it. */

import { everyChat } from "../../api/chats";
import type { Chat } from "../../api/types";
import { removeStore } from "./api";

/** Delete the files of a chat that was deleted, unless another one was branched off from it and is asked about them. */
export async function forgetFiles({ settings: { vector_store: store } }: Pick<Chat, "settings">): Promise<void> {
  if (store === undefined) return;
  for await (const other of everyChat()) if (other.settings.vector_store === store) return;
  await removeStore(store);
}
