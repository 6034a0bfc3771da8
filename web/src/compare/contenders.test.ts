import { expect, test } from "vitest";
import { treeOf } from "../chat/tree";
import { contenders } from "./contenders";
import { openPair } from "./pair";

const labels = (...given: Parameters<typeof contenders>) => contenders(...given).map(({ label }) => label);

test("both are asked, each with its own settings, and with the files of the chat", () => {
  const both = contenders("m", {
    model: "m",
    instructions: "Be kind.",
    vector_store: "vs_1",
    versus: { model: "n", temperature: 0.2, preset: { id: "p", name: "Owl", icon: "🦉", vector_store: "vs_2" } },
    compared: [{ id: "old", label: "" }],
  });
  expect(both.map(({ model, settings }) => [model, settings])).toEqual([
    ["m", { model: "m", instructions: "Be kind.", vector_store: "vs_1" }],
    [
      "n",
      {
        model: "n",
        temperature: 0.2,
        vector_store: "vs_1",
        preset: { id: "p", name: "Owl", icon: "🦉", vector_store: "vs_2" },
      },
    ],
  ]);
});

test("the chat's files do not become another's by being absent", () => {
  expect(contenders("m", { versus: {} })[1]?.settings).not.toHaveProperty("vector_store");
});

test("labels say what tells the two apart, and nothing that they share", () => {
  expect(labels("m", { versus: { model: "n" } })).toEqual(["m", "n"]);
  expect(labels("m", { temperature: 0, seed: 7, versus: { temperature: 1.2, seed: 7 } })).toEqual([
    "m · temperature 0",
    "m · temperature 1.2",
  ]);
  const preset = { id: "p", name: "Owl", icon: "" };
  expect(labels("m", { preset, versus: { preset, model: "n" } })).toEqual(["Owl · m", "Owl · n"]);
});

test("two that are the same are told apart by their place", () => {
  expect(labels("m", { versus: {} })).toEqual(["m · 1", "m · 2"]);
});

test("answers stand side by side until one is gone on with, deleted, or another branch is shown", () => {
  const compared = [
    { id: "a", label: "A" },
    { id: "b", label: "B" },
  ];
  const turns = [
    { id: "root", previous: null },
    { id: "a", previous: "root" },
    { id: "b", previous: "root" },
    { id: "c", previous: "root" },
  ];
  expect(openPair(treeOf(turns), "a", compared)).toBe(compared);
  expect(openPair(treeOf(turns), "b", compared)).toBe(compared);
  expect(openPair(treeOf(turns), "c", compared)).toBeNull();
  expect(openPair(treeOf(turns), null, compared)).toBeNull();
  expect(openPair(treeOf(turns), "a", undefined)).toBeNull();
  expect(openPair(treeOf(turns.slice(0, 2)), "a", compared)).toBeNull();
  expect(openPair(treeOf([...turns, { id: "d", previous: "a" }]), "d", compared)).toBeNull();
});
