import { expect, test } from "vitest";
import { cosine, similarities } from "./vectors";

test("cosine does not depend on length", () => {
  expect(cosine([1, 2], [2, 4])).toBeCloseTo(1);
  expect(cosine([1, 0], [0, 3])).toBe(0);
  expect(cosine([1, 0], [-2, 0])).toBe(-1);
  expect(cosine([0, 0], [1, 1])).toBe(0);
});

test("similarities has every pair at both of its places", () => {
  const rows = similarities([
    [1, 0],
    [0, 1],
    [1, 1],
  ]);
  expect(rows.map((row) => row.map((value) => Number(value.toFixed(2))))).toEqual([
    [1, 0, 0.71],
    [0, 1, 0.71],
    [0.71, 0.71, 1],
  ]);
});
