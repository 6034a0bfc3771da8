/** The control plane in Azure's dialect: accounts, which are our projects, and what is in them. */

import { queryOptions } from "@tanstack/react-query";
import { get, send } from "../../api/client";

/** Any subscription's id will do: an installation has one. */
export const SUBSCRIPTION = "subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.CognitiveServices";
const VERSION = "api-version=2025-09-01";

export interface Account {
  id: string;
  name: string;
}

/** The address of a resource, or of something below it, from its id. */
function at(id: string, below = ""): string {
  return `${id.replace(/^\//, "")}${below}`;
}

export async function armList<T>(path: string, signal: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  for (let query: string | null = `?${VERSION}`; query !== null; ) {
    const page: { value: T[]; nextLink?: string } = await get(at(path) + query, signal);
    found.push(...page.value);
    // The link is whole, and may have another host than the one that these pages have come from.
    query = page.nextLink === undefined ? null : new URL(page.nextLink).search;
  }
  return found;
}

export const accountsQuery = queryOptions({
  queryKey: ["console", "accounts"],
  queryFn: ({ signal }) => armList<Account>(`${SUBSCRIPTION}/accounts`, signal),
  staleTime: 60_000,
});

export function below(account: Account, kind: string, name = ""): string {
  return at(account.id, `/${kind}${name && `/${encodeURIComponent(name)}`}`);
}

export async function armPut<T>(path: string, body: object): Promise<T> {
  return (await send("PUT", `${path}?${VERSION}`, { body })).json();
}

export async function armPatch<T>(path: string, body: object): Promise<T> {
  return (await send("PATCH", `${path}?${VERSION}`, { body })).json();
}

export async function armPost<T>(path: string, body: object = {}): Promise<T> {
  return (await send("POST", `${path}?${VERSION}`, { body })).json();
}

export async function armDelete(path: string): Promise<void> {
  await send("DELETE", `${path}?${VERSION}`);
}
