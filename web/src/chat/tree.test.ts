import { expect, test } from "vitest";
import { turn } from "./testing";
import { branchOf, pathThrough, siblingsOf, treeOf } from "./tree";

//   a ─ b ─ d
//     └ c ─ e
//         └ f
const TREE = treeOf([turn("a"), turn("b", "a"), turn("c", "a"), turn("d", "b"), turn("e", "c"), turn("f", "c")]);

test("a path leads through a turn to the newest leaf below it", () => {
  expect(pathThrough(TREE, "b")).toEqual(["a", "b", "d"]);
  expect(pathThrough(TREE, "e")).toEqual(["a", "c", "e"]);
  expect(pathThrough(TREE, "a")).toEqual(["a", "c", "f"]);
  expect(pathThrough(TREE, null)).toEqual(["a", "c", "f"]);
});

test("siblings go on from the same turn, in the order of their making", () => {
  expect(siblingsOf(TREE, "c")).toEqual(["b", "c"]);
  expect(siblingsOf(TREE, "a")).toEqual(["a"]);
});

test("a branch is a turn and all that go on from it", () => {
  expect(branchOf(TREE, "c").sort()).toEqual(["c", "e", "f"]);
});

test("a turn whose previous one is missing begins a tree of its own", () => {
  const tree = treeOf([turn("a"), turn("x", "gone"), turn("y", "x")]);
  expect(pathThrough(tree, "y")).toEqual(["x", "y"]);
  expect(siblingsOf(tree, "x")).toEqual(["a", "x"]);
});
