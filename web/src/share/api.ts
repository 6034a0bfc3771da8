/** Links to read a chat with, and a chat as the reader of one sees it. */

import { queryOptions } from "@tanstack/react-query";
import { get, post, remove, url } from "../api/client";
import type * as schemas from "../api/schemas";
import type { ChatShare, Item, Turn } from "../api/types";

interface SharedTurn extends Omit<schemas.SharedTurn, "input" | "output"> {
  input: Item[];
  output: Item[];
}

const of = (chat: string) => `v1/x/chats/${chat}/shares`;

export const sharesQuery = (chat: string) =>
  queryOptions({
    queryKey: ["shares", chat],
    queryFn: async ({ signal }) => (await get<{ data: ChatShare[] }>(of(chat), signal)).data,
  });

export function createShare(chat: string): Promise<ChatShare> {
  return post(of(chat));
}

export function removeShare(chat: string, share: string): Promise<unknown> {
  return remove(`${of(chat)}/${share}`);
}

/** The address of a link's page. */
export function addressOf(share: string): string {
  return url(`s/${share}`);
}

export const sharedQuery = (share: string) =>
  queryOptions({
    queryKey: ["shared", share],
    queryFn: async ({ signal }) => {
      const chat = await get<{ title: string; turns: SharedTurn[] }>(`v1/x/shared/${share}`, signal);
      return { title: chat.title, turns: chat.turns.map(asTurn) };
    },
  });

/** A turn of which nobody says how it was made. */
function asTurn(turn: SharedTurn): Turn {
  return { ...turn, previous: null, usage: null, error: null, incomplete_details: null };
}
