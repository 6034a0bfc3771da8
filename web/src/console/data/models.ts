import { queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import { CALM_MS, inProject } from "./lists";

export interface ConsoleModel {
  id: string;
  created: number;
  owned_by: string;
  context_length: number;
  /** Whether a request would have to wait for it to be loaded. */
  state: string;
  /** The model that an adapter belongs to. */
  parent?: string;
}

export function projectModels(project: string) {
  return queryOptions({
    queryKey: ["console", "models", project],
    queryFn: async ({ signal }) => (await get<{ data: ConsoleModel[] }>(inProject(project, "models"), signal)).data,
    refetchInterval: CALM_MS,
  });
}
