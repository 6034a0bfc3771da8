import { expect, test } from "vitest";
import { lineageOf, type Node } from "./lineage";

function model(id: string, parent?: string) {
  return {
    object: "model" as const,
    id,
    owned_by: "",
    created: 0,
    context_length: 1,
    state: "ready",
    ...(parent && { parent }),
  };
}

function drawn(nodes: Node[]): unknown[] {
  return nodes.map(({ model: { id }, children }) => (children.length === 0 ? id : [id, drawn(children)]));
}

test("adapters are below what they were made from", () => {
  const models = [model("b-2", "b"), model("a"), model("b"), model("b-1", "b"), model("b-1-1", "b-1")];
  expect(drawn(lineageOf(models))).toEqual(["a", ["b", [["b-1", ["b-1-1"]], "b-2"]]]);
});

test("no model is lost: neither without its base, nor in a circle", () => {
  expect(drawn(lineageOf([model("x", "gone")]))).toEqual(["x"]);
  expect(drawn(lineageOf([model("a", "b"), model("b", "a"), model("c", "a"), model("d", "d")]))).toEqual([
    ["a", ["c"]],
    "b",
    "d",
  ]);
});
