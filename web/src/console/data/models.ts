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
