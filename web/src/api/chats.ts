/** Chats, their turns, and the models that answer in them. */

import { type InfiniteData, infiniteQueryOptions, type QueryClient, queryOptions } from "@tanstack/react-query";
import { questionText } from "../chat/items";
import { ApiError, get, post, remove, send } from "./client";
import { sseData } from "./sse";
import type { Chat, ChatSettings, ChatUpdate, Item, Model, Page, Response, ResponseEvent, Turn } from "./types";

const CHATS = "v1/x/chats";
const CHATS_A_PAGE = 60;
/** The most that the server lists at once. */
const MOST_CHATS = 100;
const TURNS_A_PAGE = 100;

export interface ChatFilter {
  query: string;
  tag: string;
}

export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: async ({ signal }) => (await get<{ data: Model[] }>("v1/models", signal)).data,
  staleTime: 30_000,
});

export function chatsQuery(filter: ChatFilter) {
  return infiniteQueryOptions({
    queryKey: ["chats", filter],
    queryFn: ({ pageParam, signal }) => {
      const query = new URLSearchParams({ limit: String(CHATS_A_PAGE) });
      for (const [name, value] of Object.entries({ ...filter, after: pageParam })) if (value) query.set(name, value);
      return get<Page<Chat>>(`${CHATS}?${query}`, signal);
    },
    initialPageParam: "",
    getNextPageParam: (page) => (page.has_more ? page.last_id : null),
  });
}

/** All chats, page by page. */
export async function* everyChat(): AsyncGenerator<Chat> {
  for (let after = "", more = true; more; ) {
    const query = new URLSearchParams({ limit: String(MOST_CHATS), ...(after && { after }) });
    const page = await get<Page<Chat>>(`${CHATS}?${query}`);
    yield* page.data;
    after = page.last_id;
    more = page.has_more;
  }
}

export function chatQuery(id: string) {
  return queryOptions({
    queryKey: ["chat", id],
    queryFn: ({ signal }) => get<Chat>(`${CHATS}/${id}`, signal),
  });
}

/** A chat is as the server says: everywhere that it is shown, at once. */
export function noteChat(client: QueryClient, chat: Chat): void {
  client.setQueryData(chatQuery(chat.id).queryKey, chat);
  void client.invalidateQueries({ queryKey: ["chats"] });
}

/** The folders of all chats that were listed. */
export function knownFolders(client: QueryClient): string[] {
  const lists = client.getQueriesData<InfiniteData<Page<Chat>>>({ queryKey: ["chats"] });
  const chats = lists.flatMap(([, list]) => list?.pages.flatMap((page) => page.data) ?? []);
  return [...new Set(chats.map((chat) => chat.folder))].filter(Boolean).sort();
}

export function createChat(settings: ChatSettings, temporary: boolean): Promise<Chat> {
  return post(CHATS, { settings, temporary });
}

export function updateChat(id: string, update: ChatUpdate): Promise<Chat> {
  return post(`${CHATS}/${id}`, update);
}

export function deleteChat(id: string): Promise<unknown> {
  return remove(`${CHATS}/${id}`);
}

export function forkChat(id: string, at: string): Promise<Chat> {
  return post(`${CHATS}/${id}/fork`, { at });
}

export function listTurns(chat: string, after: string | undefined, signal: AbortSignal): Promise<Page<Turn>> {
  const query = new URLSearchParams({ limit: String(TURNS_A_PAGE), ...(after && { after }) });
  return get(`${CHATS}/${chat}/turns?${query}`, signal);
}

export function deleteBranch(chat: string, turn: string): Promise<unknown> {
  return remove(`${CHATS}/${chat}/turns/${turn}`);
}

export interface Ask {
  input: Item[];
  previous: string | null;
  model: string;
  settings: ChatSettings;
  /** What the answer begins with. */
  prefix?: string;
}

/** Ask something in a chat. The answer is made in the background, and followed like one that another tab asked for. */
export async function createTurn(chat: string, ask: Ask): Promise<Turn> {
  const { input, previous, model, settings, prefix } = ask;
  const { vector_store, preset, versus, compared, ...sampling } = settings;
  const stores = [vector_store, preset?.vector_store].filter((store) => store !== undefined);
  const body = {
    ...sampling,
    model,
    input,
    previous_response_id: previous,
    include: ["message.output_text.logprobs", ...(stores.length > 0 ? ["file_search_call.results"] : [])],
    top_logprobs: 5,
    // What does not fit is left out, and marked.
    truncation: "auto",
    ...(prefix && { prefix }),
    ...(stores.length > 0 && searching(stores, input, Boolean(prefix))),
  };
  try {
    return { ...(await post<Response>(`${CHATS}/${chat}/turns`, body)), previous, input };
  } catch (error) {
    if (!preset?.vector_store || !(error instanceof ApiError && error.status === 404)) throw error;
    // The files of an assistant may be deleted by somebody else; its chats go on without.
    const { vector_store: gone, ...rest } = preset;
    return createTurn(chat, { ...ask, settings: { ...settings, preset: rest } });
  }
}

/** A model is shown some 3,000 tokens of what was found: more would be kept for nobody. */
const MOST_PASSAGES = 5;
/** The most characters that are searched for. */
const LONGEST_SEARCH = 2048;

/**
 * What makes an answer cite the files of stores. The server looks for the question's own words before the model is asked:
 * small models, as the default one is, do not search if it is left to them, and if a call is forced, look for a comma. A
 * large one may still search again, in its own words. An answer that goes on from words that stand already has no place
 * for a search before them.
 */
function searching(stores: string[], input: Item[], isBegun: boolean): object {
  const tool = { type: "file_search", vector_store_ids: stores, max_num_results: MOST_PASSAGES };
  const search = isBegun ? "" : questionText(input).slice(0, LONGEST_SEARCH);
  return { tools: [tool], ...(search && { search }) };
}

export function getResponse(id: string, signal: AbortSignal): Promise<Response> {
  return get(`v1/responses/${id}`, signal);
}

export function cancelResponse(id: string): Promise<Response> {
  return post(`v1/responses/${id}/cancel`);
}

/** The events of a response behind number `after`: those that are there, then those that come. */
export async function* responseEvents(id: string, after: number, signal: AbortSignal): AsyncGenerator<ResponseEvent> {
  const { body } = await send("GET", `v1/responses/${id}?stream=true&starting_after=${after}`, { signal });
  if (body === null) return;
  for await (const data of sseData(body)) yield JSON.parse(data);
}
