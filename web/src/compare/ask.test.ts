import { beforeEach, expect, test, vi } from "vitest";
import * as api from "../api/chats";
import type { Chat, Turn } from "../api/types";
import { question } from "../chat/items";
import { turn } from "../chat/testing";
import { askBoth } from "./ask";

vi.mock("../api/chats");
const server = vi.mocked(api);
const what = { input: question("Why?"), previous: "root" };
const settings = { temperature: 0, versus: { temperature: 1 } };

beforeEach(() => {
  vi.resetAllMocks();
  server.updateChat.mockImplementation(async (id, update) => ({ id, ...update }) as Chat);
});

test("both answers are branches of the same turn, and the chat knows that they stand side by side", async () => {
  const asked: api.Ask[] = [];
  const ask = async (each: api.Ask): Promise<Turn> => {
    asked.push(each);
    return turn(`turn_${asked.length}`, each.previous);
  };
  const kept = { ...settings, vector_store: "vs_1" };
  const { turns, chat } = await askBoth("chat_1", what, "m", settings, kept, ask, async () => {});
  expect(asked.map((each) => [each.previous, each.model, each.settings])).toEqual([
    ["root", "m", { temperature: 0 }],
    ["root", "m", { temperature: 1 }],
  ]);
  expect(turns.map(({ id }) => id)).toEqual(["turn_1", "turn_2"]);
  expect(chat.settings).toEqual({
    ...kept,
    compared: [
      { id: "turn_1", label: "m · temperature 0" },
      { id: "turn_2", label: "m · temperature 1" },
    ],
  });
});

test("if one cannot be asked, the other one is taken back", async () => {
  const undo = vi.fn();
  const ask = async ({ settings: { temperature } }: api.Ask): Promise<Turn> => {
    if (temperature === 1) throw new Error("No such model.");
    return turn("turn_1", "root");
  };
  await expect(askBoth("chat_1", what, "m", settings, settings, ask, undo)).rejects.toThrow("No such model.");
  expect(undo).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ id: "turn_1" }));
  expect(server.updateChat).not.toHaveBeenCalled();
});
