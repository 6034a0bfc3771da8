/** Which rules a policy has: its own, and those of the policies that it is based on. Pure. */

import type { ContentFilter, FilterKind, ListUse, Policy, PolicyProperties, Source } from "../data/policies";

export interface Rule extends Required<ContentFilter> {
  /** Whether what is found has a severity. */
  isGraded: boolean;
  /** Who has said so: the policy itself, one that it is based on, or nobody. */
  from: "own" | "inherited" | "nobody";
}

export type Overrides = ReadonlyMap<string, ContentFilter>;
export type UseOfList = "off" | "annotate" | "block";

export function keyOf({ name, source }: { name: string; source: Source }): string {
  return `${name}.${source}`;
}

export function overridesOf({ contentFilters }: PolicyProperties): Overrides {
  return new Map(contentFilters.map((filter) => [keyOf(filter), filter]));
}

/** For each filter that there is, what holds. A filter that no policy names looks at nothing. */
export function rulesOf(
  kinds: readonly FilterKind[],
  own: Overrides,
  base: string | null | undefined,
  policies: readonly Policy[],
): Rule[] {
  const inherited = basesOf(base, policies).map(({ properties }) => overridesOf(properties));
  return kinds.map(({ name, source, isMultiLevelFilter }) => {
    const key = keyOf({ name, source });
    const from = own.has(key) ? "own" : inherited.some((each) => each.has(key)) ? "inherited" : "nobody";
    const found = own.get(key) ?? inherited.find((each) => each.has(key))?.get(key);
    return {
      name,
      source,
      enabled: found?.enabled ?? false,
      blocking: found?.blocking ?? true,
      severityThreshold: found?.severityThreshold ?? "Medium",
      isGraded: isMultiLevelFilter,
      from,
    };
  });
}

/** The nearest first; a circle ends where it closes. */
function basesOf(base: string | null | undefined, policies: readonly Policy[]): Policy[] {
  const found: Policy[] = [];
  for (let name = base; name; ) {
    const policy = policies.find((each) => each.name === name);
    if (!policy || found.includes(policy)) break;
    found.push(policy);
    name = policy.properties.basePolicyName;
  }
  return found;
}

/** The filter that a rule stands for, as it is sent. */
export function filterOf({ name, source, enabled, blocking, severityThreshold, isGraded }: Rule): ContentFilter {
  return { name, source, enabled, blocking, ...(isGraded && { severityThreshold }) };
}

export function listUse(uses: readonly ListUse[] | undefined, list: string): UseOfList {
  const use = uses?.find(({ blocklistName }) => blocklistName === list);
  if (!use) return "off";
  return use.blocking ? "block" : "annotate";
}

export function withUse(uses: readonly ListUse[] | undefined, list: string, use: UseOfList): ListUse[] {
  const others = (uses ?? []).filter(({ blocklistName }) => blocklistName !== list);
  return use === "off" ? others : [...others, { blocklistName: list, blocking: use === "block" }];
}

/** What is sent for a policy: what the server derives is not given back to it, which would count as said twice. */
export function bodyOf(properties: PolicyProperties, own: Overrides): { properties: object } {
  const { type: _, customBlocklists: __, ...rest } = properties;
  return { properties: { ...rest, contentFilters: [...own.values()] } };
}
