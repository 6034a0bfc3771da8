import { beforeEach, expect, test } from "vitest";
import { initial, load, save } from "./state";

class Kept implements Storage {
  #items = new Map<string, string>();
  length = 0;
  isFull = false;
  clear = () => this.#items.clear();
  key = () => null;
  getItem = (name: string) => this.#items.get(name) ?? null;
  removeItem = (name: string) => void this.#items.delete(name);
  setItem(name: string, value: string) {
    if (this.isFull) throw new DOMException("full", "QuotaExceededError");
    this.#items.set(name, value);
  }
}

let storage: Kept;
beforeEach(() => {
  storage = new Kept();
});

const changed = () => ({ ...initial(), completion: { ...initial().completion, prompt: "Kept" } });

test("what was saved is there again", () => {
  const state = changed();
  save(storage, state);
  expect(load(storage)).toEqual(state);
});

test.each(["", "{", "null", "[]", '{"version":0}', '{"version":"1"}'])("%j is not ours", (text) => {
  storage.setItem("mainspring.playground", text);
  expect(load(storage).completion.prompt).toBe(initial().completion.prompt);
});

test("what cannot be kept is not kept half: an older state would come back", () => {
  save(storage, changed());
  storage.isFull = true;
  save(storage, changed());
  expect(load(storage).completion.prompt).toBe(initial().completion.prompt);
});
