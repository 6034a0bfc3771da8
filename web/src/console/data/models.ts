import { queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import type { Model } from "../../api/schemas";
import { CALM_MS, inProject } from "./lists";

export function projectModels(project: string) {
  return queryOptions({
    queryKey: ["console", "models", project],
    queryFn: async ({ signal }) => (await get<{ data: Model[] }>(inProject(project, "models"), signal)).data,
    refetchInterval: CALM_MS,
  });
}

/** Names of the models that write text. Only Azure's list says which do. */
export function textModels(project: string) {
  return queryOptions({
    queryKey: ["console", "text models", project],
    queryFn: async ({ signal }) => {
      const path = inProject(project, "openai/models").replace("/v1/", "/");
      const { data } = await get<{ data: { id: string; capabilities: { completion: boolean } }[] }>(
        `${path}?api-version=2024-10-21`,
        signal,
      );
      return data.filter(({ capabilities }) => capabilities.completion).map(({ id }) => id);
    },
    staleTime: CALM_MS,
  });
}
