/** Which models can do what. OpenAI's list of models does not tell; Azure's does. */

import { queryOptions, useQuery } from "@tanstack/react-query";
import { modelsQuery } from "../api/chats";
import { get } from "../api/client";

export type Ability = "chat_completion" | "completion" | "embeddings";

interface Described {
  id: string;
  capabilities?: Partial<Record<Ability, boolean>>;
}

const abilitiesQuery = queryOptions({
  queryKey: ["models", "abilities"],
  queryFn: async ({ signal }) =>
    (await get<{ data: Described[] }>("openai/models?api-version=2024-10-21", signal)).data,
  staleTime: 30_000,
});

export interface Models {
  ids: string[];
  isLoaded: boolean;
}

/** Those that can do it; all of them, if the server does not say: it then refuses what it cannot do. */
export function useModels(ability: Ability): Models {
  const all = useQuery(modelsQuery);
  const described = useQuery(abilitiesQuery);
  const ids = all.data?.map(({ id }) => id) ?? [];
  const abilities = new Map(described.data?.map(({ id, capabilities }) => [id, capabilities]));
  return {
    ids: ids.filter((id) => abilities.get(id)?.[ability] ?? true),
    isLoaded: all.isSuccess && !described.isPending,
  };
}

/** The one that was chosen, as long as it is there; otherwise the first. */
export function chosenModel(chosen: string, { ids, isLoaded }: Models): string {
  if (!isLoaded) return chosen;
  return ids.includes(chosen) ? chosen : (ids[0] ?? "");
}
