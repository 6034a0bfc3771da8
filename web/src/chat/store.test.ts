import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Turn } from "../api/types";
import { answerText } from "./items";
import { TurnStore } from "./store";
import { eventsOf, turn } from "./testing";

/** What the server answers, by method and path; the page of turns is its own. */
let turns: Turn[];
let answers: Record<string, () => Response>;
let frames: (() => void)[];

beforeEach(() => {
  answers = {};
  frames = [];
  vi.stubGlobal("document", { baseURI: "http://server/", hidden: false });
  vi.stubGlobal("requestAnimationFrame", (act: () => void) => frames.push(act));
  vi.stubGlobal("fetch", async (url: string, { method }: RequestInit) => {
    const { pathname, searchParams } = new URL(url);
    if (pathname === "/v1/x/chats/chat_1/turns" && method === "GET") {
      const rest = turns.slice(turns.findIndex((each) => each.id === searchParams.get("after")) + 1);
      const data = rest.slice(0, 2);
      return Response.json({ data, last_id: data.at(-1)?.id ?? "", has_more: rest.length > 2 });
    }
    return answers[`${method} ${pathname}`]?.() ?? new Response("", { status: 404 });
  });
});

afterEach(() => vi.unstubAllGlobals());

function streamed(answer: Turn): () => Response {
  return () =>
    new Response(
      eventsOf(answer)
        .map((event) => `data: ${JSON.stringify(event)}\n\n`)
        .join(""),
    );
}

function done(id: string, previous: string | null = null): Turn {
  return turn(id, previous, { status: "completed" });
}

test("all pages are fetched, and later only what is new", async () => {
  turns = [done("a"), done("b", "a"), done("c", "b")];
  const store = new TurnStore("chat_1");
  await store.load();
  expect(store.isLoaded()).toBe(true);
  expect([...store.tree().previous.keys()]).toEqual(["a", "b", "c"]);
  turns = [...turns, done("d", "c")];
  await store.load();
  expect(store.tree().children.get("c")).toEqual(["d"]);
});

test("a turn that is not over is heard to its end, and those who look are told once a frame", async () => {
  turns = [turn("a")];
  answers["GET /v1/responses/a"] = streamed(turn("a"));
  const store = new TurnStore("chat_1");
  const watcher = vi.fn();
  store.subscribe(watcher);
  await store.load();
  await vi.waitFor(() => expect(store.turn("a")?.status).toBe("completed"));
  expect(store.turn("a") && answerText(store.turn("a") ?? turn("a"))).toBe("Hello");
  expect(frames.length).toBe(1);
  expect(watcher).not.toHaveBeenCalled();
  frames.forEach((act) => void act());
  expect(watcher).toHaveBeenCalledOnce();
});

test("a branch goes with all that goes on from it, and nothing that is still heard revives it", async () => {
  turns = [done("a"), turn("b", "a"), done("c", "b")];
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  answers["GET /v1/responses/b"] = () => new Response(readable);
  answers["DELETE /v1/x/chats/chat_1/turns/b"] = () => Response.json({});
  const store = new TurnStore("chat_1");
  await store.load();
  await store.remove("b");
  const [late] = eventsOf(turn("b"));
  await writable.getWriter().write(new TextEncoder().encode(`data: ${JSON.stringify(late)}\n\n`));
  await new Promise((resolve) => setTimeout(resolve));
  expect([...store.tree().previous.keys()]).toEqual(["a"]);
  expect(store.turn("b")).toBeUndefined();
  store.close();
});

test("what cannot be fetched is said, and fetched the next time", async () => {
  turns = [done("a")];
  const store = new TurnStore("chat_2");
  await store.load();
  expect(store.isLoaded()).toBe(false);
  expect(store.problem()?.message).toContain("404");
});
