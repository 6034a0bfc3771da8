/** Keys, the accounts that have them, and roles. */

import { queryOptions } from "@tanstack/react-query";
import type { OrganizationProject, OrganizationRole, ProjectApiKey, ProjectServiceAccount } from "../../api/schemas";
import { wholeList } from "./lists";

/** A key of a project or an administrator's, which are told apart by what is said of their owner. */
export type Key = Pick<
  ProjectApiKey,
  "id" | "name" | "redacted_value" | "created_at" | "last_used_at" | "expires_at"
> & {
  owner: { type?: string; name?: string; service_account?: { id: string; name: string } };
};

export function projectPath(project: string, below: string): string {
  return `v1/organization/projects/${encodeURIComponent(project)}/${below}`;
}

export function keysQuery(project: string) {
  return queryOptions({
    queryKey: ["console", "keys", project],
    queryFn: ({ signal }) => wholeList<Key>(projectPath(project, "api_keys"), signal),
  });
}

export function accountsOf(project: string) {
  return queryOptions({
    queryKey: ["console", "service accounts", project],
    queryFn: ({ signal }) => wholeList<ProjectServiceAccount>(projectPath(project, "service_accounts"), signal),
  });
}

export const adminKeysQuery = queryOptions({
  queryKey: ["console", "admin keys"],
  queryFn: ({ signal }) => wholeList<Key>("v1/organization/admin_api_keys", signal),
});

export const rolesQuery = queryOptions({
  queryKey: ["console", "roles"],
  queryFn: ({ signal }) => wholeList<OrganizationRole>("v1/organization/roles", signal),
  staleTime: Number.POSITIVE_INFINITY,
});

/** Id -> name of all keys that the one who asks may see. What is not there keeps its id. */
export const namesOfKeys = queryOptions({
  queryKey: ["console", "names of keys"],
  queryFn: async ({ signal }) => {
    const projects = await wholeList<OrganizationProject>("v1/organization/projects", signal).catch(() => []);
    const lists = ["v1/organization/admin_api_keys", ...projects.map(({ id }) => projectPath(id, "api_keys"))];
    const found = await Promise.all(lists.map((path) => wholeList<Key>(path, signal).catch(() => [])));
    return new Map(found.flat().map(({ id, name }) => [id, name]));
  },
  staleTime: 60_000,
});
