/** Which project is shown. */

import { queryOptions, useQuery } from "@tanstack/react-query";
import { useSearch } from "@tanstack/react-router";
import type { OrganizationProject } from "../../api/schemas";
import { sessionQuery } from "../../api/session";
import { wholeList } from "./lists";

export const projectsQuery = queryOptions({
  queryKey: ["console", "projects"],
  queryFn: ({ signal }) => wholeList<OrganizationProject>("v1/organization/projects", signal),
  staleTime: 30_000,
});

export function useProject(): string {
  const { project } = useSearch({ strict: false });
  const { data: session } = useQuery(sessionQuery);
  return project ?? session?.project ?? "default";
}
