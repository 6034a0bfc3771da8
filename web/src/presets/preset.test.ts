import { expect, test } from "vitest";
import type { Preset } from "./api";
import { begunWith, settingsOf, withoutPreset } from "./begin";
import { copyOf, exported, fileName, imported, presetSettings, startersOf } from "./preset";

const OWL: Preset = {
  id: "preset_1",
  name: "Wise Owl / 🦉",
  description: "Knows the night.",
  icon: "🦉",
  instructions: "Hoot.",
  settings: { model: "m", temperature: 0 },
  vector_store: "vs_owl",
  starters: ["Who?"],
  shared: true,
  mine: true,
  updated_at: 1,
};
const PLAIN: Preset = { ...OWL, instructions: "", settings: {}, vector_store: null };

test("a chat that begins with an assistant has all that it is told in its own settings", () => {
  expect(settingsOf(OWL)).toEqual({
    model: "m",
    temperature: 0,
    instructions: "Hoot.",
    preset: { id: "preset_1", name: "Wise Owl / 🦉", icon: "🦉", vector_store: "vs_owl" },
  });
  expect(settingsOf(PLAIN)).toEqual({ preset: { id: "preset_1", name: "Wise Owl / 🦉", icon: "🦉" } });
});

test("what was attached and chosen before stays, and what another assistant gave does not", () => {
  const before = { ...settingsOf(OWL), vector_store: "vs_mine", seed: 7 };
  expect(begunWith(PLAIN, before)).toEqual({ model: "m", vector_store: "vs_mine", ...settingsOf(PLAIN) });
  expect(withoutPreset(before)).toEqual({ model: "m", vector_store: "vs_mine" });
});

test("a copy is private, and has no files until they are copied", () => {
  expect(copyOf(OWL, "Copy")).toMatchObject({ name: "Copy", shared: false, vector_store: null, instructions: "Hoot." });
  expect(copyOf(OWL, "Copy")).not.toHaveProperty("id");
});

test("what is exported can be imported, without ids and files of this server", () => {
  const { name, description, icon, instructions, settings, starters } = OWL;
  expect(imported(exported([OWL]))).toEqual([{ name, description, icon, instructions, settings, starters }]);
  expect(exported([OWL])).not.toContain("vs_owl");
  const everything = { object: "chat.export", version: 1, chats: [], presets: [{ id: "preset_9", name: "x" }] };
  expect(imported(JSON.stringify(everything))).toEqual([{ name: "x" }]);
});

test.each(["", "[]", "null", "{}", '{"presets": 1}', '{"presets": [1]}', '{"presets": [[]]}'])(
  "%s is no file of assistants",
  (text) => {
    expect(() => imported(text)).toThrow();
  },
);

test("a file is called as its assistant, whatever that is called", () => {
  expect(fileName([OWL])).toBe("Wise-Owl.json");
  expect(fileName([{ ...OWL, name: "../🦉" }])).toBe("assistants.json");
  expect(fileName([OWL, PLAIN])).toBe("assistants.json");
});

test("only what was entered is kept", () => {
  expect(presetSettings({ model: "m", temperature: 0, instructions: "Hoot." })).toEqual({ model: "m", temperature: 0 });
  expect(startersOf([" a ", "", "  ", "b"])).toEqual(["a", "b"]);
});
