/** Content policies and blocklists. */

import { queryOptions } from "@tanstack/react-query";
import { type Account, armList, below, SUBSCRIPTION } from "./arm";

export type Source = "Prompt" | "Completion";

export interface ContentFilter {
  name: string;
  source: Source;
  enabled: boolean;
  blocking: boolean;
  /** Of those that grade what they find. */
  severityThreshold?: "Low" | "Medium" | "High";
}

export interface ListUse {
  blocklistName: string;
  blocking: boolean;
}

export interface PolicyProperties {
  basePolicyName?: string | null;
  mode: string;
  type?: "SystemManaged" | "UserManaged";
  contentFilters: ContentFilter[];
  promptBlocklists?: ListUse[];
  completionBlocklists?: ListUse[];
  [more: string]: unknown;
}

export interface Policy {
  id: string;
  name: string;
  properties: PolicyProperties;
}

export interface Blocklist {
  id: string;
  name: string;
  properties: { description?: string };
}

export interface BlocklistItem {
  id: string;
  name: string;
  properties: { pattern: string; isRegex?: boolean };
}

export function policiesQuery(account: Account | undefined) {
  return queryOptions({
    queryKey: ["console", "policies", account?.id],
    queryFn: ({ signal }) => (account ? armList<Policy>(below(account, "raiPolicies"), signal) : []),
    enabled: account !== undefined,
  });
}

export function blocklistsQuery(account: Account | undefined) {
  return queryOptions({
    queryKey: ["console", "blocklists", account?.id],
    queryFn: ({ signal }) => (account ? armList<Blocklist>(below(account, "raiBlocklists"), signal) : []),
    enabled: account !== undefined,
  });
}

export function itemsQuery(account: Account, list: string) {
  return queryOptions({
    queryKey: ["console", "blocklist", account.id, list],
    queryFn: ({ signal }) =>
      armList<BlocklistItem>(`${below(account, "raiBlocklists", list)}/raiBlocklistItems`, signal),
  });
}

/** A filter that there is, in one direction. */
export interface FilterKind {
  name: string;
  source: Source;
  /** Whether what it finds has a severity. */
  isMultiLevelFilter: boolean;
}

/** The same wherever it is asked for: there is one place. */
export const filterKindsQuery = queryOptions({
  queryKey: ["console", "filters"],
  queryFn: async ({ signal }) => {
    const path = `${SUBSCRIPTION}/locations/local/raiContentFilters`;
    return (await armList<{ properties: FilterKind }>(path, signal)).map(({ properties }) => properties);
  },
  staleTime: Number.POSITIVE_INFINITY,
});

/** One thing that a filter has found in a request. */
export interface Hit {
  category: string;
  severity?: string;
  score?: number;
  threshold?: string | number;
  matched?: string;
  where?: string;
  blocklist?: string;
  blocking?: boolean;
}

/** What the ledger has of a request. */
export interface RequestRecord {
  id: string;
  started: number;
  project: string;
  deployment: string;
  operation: string;
  outcome: string;
  filtered: string;
  hits: Hit[];
}
