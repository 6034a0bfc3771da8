import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { question } from "../chat/items";
import { createTurn } from "./chats";
import type { ChatSettings } from "./types";

let bodies: Record<string, unknown>[];
let refuses: (body: Record<string, unknown>) => boolean;

beforeEach(() => {
  bodies = [];
  refuses = () => false;
  vi.stubGlobal("document", { baseURI: "http://server/" });
  vi.stubGlobal("fetch", async (_: string, { body }: RequestInit) => {
    bodies.push(JSON.parse(String(body)));
    const isRefused = refuses(bodies.at(-1) ?? {});
    return isRefused
      ? Response.json({ error: { code: "not_found", message: "No such vector store." } }, { status: 404 })
      : Response.json({ id: "resp_1", status: "queued", output: [] });
  });
});

afterEach(() => vi.unstubAllGlobals());

const ask = (settings: ChatSettings) =>
  createTurn("chat_1", { input: question("Why?"), previous: null, model: "m", settings });
const stores = () =>
  bodies.map(({ tools }) => (tools as { vector_store_ids: string[] }[] | undefined)?.[0]?.vector_store_ids);
const PRESET = { id: "preset_1", name: "Owl", icon: "", vector_store: "vs_owl" };

test("what is the page's own is not sent", async () => {
  await ask({ temperature: 0.5, instructions: "Hoot.", preset: PRESET, versus: { seed: 1 }, compared: [] });
  expect(Object.keys(bodies[0] ?? {}).sort()).toEqual([
    "include",
    "input",
    "instructions",
    "model",
    "previous_response_id",
    "search",
    "temperature",
    "tools",
    "top_logprobs",
    "truncation",
  ]);
});

test("answers are looked for in the chat's files and in those of its assistant", async () => {
  await ask({ vector_store: "vs_mine", preset: PRESET });
  await ask({ preset: PRESET });
  await ask({ preset: { id: "preset_1", name: "Owl", icon: "" } });
  expect(stores()).toEqual([["vs_mine", "vs_owl"], ["vs_owl"], undefined]);
});

test("a chat whose assistant has lost its files goes on without them", async () => {
  refuses = (body) => JSON.stringify(body).includes("vs_owl");
  await ask({ vector_store: "vs_mine", preset: PRESET });
  expect(stores()).toEqual([["vs_mine", "vs_owl"], ["vs_mine"]]);
  refuses = () => true;
  await expect(ask({ vector_store: "vs_mine", preset: PRESET })).rejects.toThrow("No such vector store.");
  expect(bodies.length).toBe(4);
});
