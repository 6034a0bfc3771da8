import { describe, expect, test } from "vitest";
import type { ContentFilter, FilterKind, Policy } from "../data/policies";
import { bodyOf, filterOf, listUse, overridesOf, rulesOf, withUse } from "./rules";

const HATE: FilterKind = { name: "Hate", source: "Prompt", isMultiLevelFilter: true };
const JAILBREAK: FilterKind = { name: "Jailbreak", source: "Prompt", isMultiLevelFilter: false };

function policy(name: string, basePolicyName: string | null, ...contentFilters: ContentFilter[]): Policy {
  return { id: name, name, properties: { basePolicyName, mode: "Blocking", contentFilters } };
}

function filter(name: string, more: Partial<ContentFilter> = {}): ContentFilter {
  return { name, source: "Prompt", enabled: true, blocking: true, ...more };
}

const GRAND = policy("grand", null, filter("Hate", { severityThreshold: "High" }), filter("Jailbreak"));
const BASE = policy("base", "grand", filter("Hate", { severityThreshold: "Low" }));

function shown(policies: Policy[], own: Policy) {
  const rules = rulesOf([HATE, JAILBREAK], overridesOf(own.properties), own.properties.basePolicyName, policies);
  return rules.map(({ severityThreshold, enabled, from }) => [severityThreshold, enabled, from]);
}

describe("rules", () => {
  test("the nearest policy that names a filter decides", () => {
    expect(shown([GRAND, BASE], policy("own", "base"))).toEqual([
      ["Low", true, "inherited"],
      ["Medium", true, "inherited"],
    ]);
    const own = policy("own", "base", filter("Hate", { severityThreshold: "Medium", enabled: false }));
    expect(shown([GRAND, BASE], own)[0]).toEqual(["Medium", false, "own"]);
  });

  test("what no policy names looks at nothing, and a circle ends", () => {
    expect(shown([policy("a", "b"), policy("b", "a")], policy("own", "a"))).toEqual([
      ["Medium", false, "nobody"],
      ["Medium", false, "nobody"],
    ]);
  });

  test("only filters that grade are sent with a threshold", () => {
    const [hate, jailbreak] = rulesOf([HATE, JAILBREAK], new Map(), "grand", [GRAND]);
    expect(hate && filterOf(hate)).toEqual(filter("Hate", { severityThreshold: "High" }));
    expect(jailbreak && filterOf(jailbreak)).toEqual(filter("Jailbreak"));
  });
});

test("a use of a list replaces the one there was", () => {
  const uses = [{ blocklistName: "words", blocking: true }];
  expect(withUse(uses, "words", "annotate")).toEqual([{ blocklistName: "words", blocking: false }]);
  expect(withUse(uses, "words", "off")).toEqual([]);
  expect(withUse(undefined, "names", "block").map(({ blocklistName }) => listUse(uses, blocklistName))).toEqual([
    "off",
  ]);
  expect([listUse(uses, "words"), listUse(withUse(uses, "words", "annotate"), "words")]).toEqual(["block", "annotate"]);
});

test("what the server has derived is not sent back, and the rest is", () => {
  const given = {
    ...policy("own", "base", filter("Hate")).properties,
    type: "UserManaged" as const,
    customBlocklists: [{}],
    guardDeploymentName: "guard",
  };
  expect(bodyOf(given, new Map())).toEqual({
    properties: { basePolicyName: "base", mode: "Blocking", contentFilters: [], guardDeploymentName: "guard" },
  });
});
