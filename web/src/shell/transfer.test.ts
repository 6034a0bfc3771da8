import { describe, expect, it, test } from "vitest";
import { besideChats, inPortions } from "./transfer";

describe("inPortions", () => {
  it("keeps the order, and each portion within the limit", () => {
    const all = Array.from({ length: 10 }, (_, at) => ({ at, text: "x".repeat(20) }));
    const portions = [...inPortions(all, 100)];
    expect(portions.flat()).toEqual(all);
    expect(portions.length).toBeGreaterThan(3);
    for (const portion of portions) expect(JSON.stringify(portion).length).toBeLessThan(110);
  });

  it("sends what is too large alone, and nothing for nothing", () => {
    const large = "x".repeat(500);
    expect([...inPortions(["a", large, "b"], 100)]).toEqual([["a"], [large], ["b"]]);
    expect([...inPortions([], 100)]).toEqual([]);
  });
});

test("what an export has beside its chats goes along, and what is not there is not sent", () => {
  expect(besideChats({ chats: [], presets: [{}], instructions: { about: "x" } })).toEqual({
    presets: [{}],
    instructions: { about: "x" },
  });
  expect(besideChats({ chats: [], presets: [], instructions: null })).toEqual({ presets: [] });
  expect(besideChats({ chats: [] })).toEqual({});
});
