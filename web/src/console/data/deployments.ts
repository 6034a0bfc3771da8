/** Deployments, what can be deployed, and how much of it is left. */

import { queryOptions } from "@tanstack/react-query";
import { isBusy } from "../parts/states";
import { type Account, armList, below } from "./arm";
import { CALM_MS, LIVE_MS } from "./lists";

export interface Deployment {
  id: string;
  name: string;
  sku: { name: string; capacity: number };
  properties: {
    provisioningState: string;
    deploymentState: "Running" | "Paused";
    model: { name: string; version: string };
    rateLimits: { key: string; renewalPeriod: number; count: number }[];
    raiPolicyName?: string;
    spilloverDeploymentName?: string;
  };
}

export interface CatalogModel {
  name: string;
  version: string;
  isDefaultVersion: boolean;
  capabilities: Record<string, string>;
  skus: { name: string; capacity: { minimum: number; maximum: number; default: number } }[];
}

export interface Quota {
  name: { value: string; localizedValue: string };
  currentValue: number;
  limit: number;
}

export function deploymentsQuery(account: Account | undefined) {
  return queryOptions({
    queryKey: ["console", "deployments", account?.id],
    queryFn: ({ signal }) => (account ? armList<Deployment>(below(account, "deployments"), signal) : []),
    enabled: account !== undefined,
    refetchInterval: ({ state: { data } }) =>
      data?.some(({ properties }) => isBusy(properties.provisioningState)) ? LIVE_MS : CALM_MS,
  });
}

export function catalogQuery(account: Account | undefined) {
  return queryOptions({
    queryKey: ["console", "catalog", account?.id],
    queryFn: ({ signal }) => (account ? armList<CatalogModel>(below(account, "models"), signal) : []),
    enabled: account !== undefined,
  });
}

export function quotasQuery(account: Account | undefined) {
  return queryOptions({
    queryKey: ["console", "quotas", account?.id],
    queryFn: ({ signal }) => (account ? armList<Quota>(below(account, "usages"), signal) : []),
    enabled: account !== undefined,
    refetchInterval: CALM_MS,
  });
}

/** Requests and tokens in a minute, from limits of any period. */
export function perMinute({ properties: { rateLimits } }: Deployment, key: "request" | "token"): number | null {
  const rule = rateLimits.find((each) => each.key === key);
  return rule ? (rule.count / rule.renewalPeriod) * 60 : null;
}
