import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ResponseEvent, Turn } from "../api/types";
import { follow } from "./follow";
import { answerText } from "./items";
import { eventsOf, turn } from "./testing";

const ASKED = turn("resp_1");
const EVENTS = eventsOf(ASKED);

/** What the server does with each request, in turn. */
let replies: (() => Response)[] = [];
const requests: string[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("document", { baseURI: "http://server/under/" });
  vi.stubGlobal("fetch", async (url: string) => {
    requests.push(url.replace("http://server/under/v1/responses/", ""));
    const reply = replies.shift();
    if (!reply) throw new TypeError("unreachable");
    return reply();
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  requests.length = 0;
});

function stream(events: ResponseEvent[]): () => Response {
  return () => new Response(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(""));
}

async function heard(signal = new AbortController().signal): Promise<Turn[]> {
  const turns: Turn[] = [];
  const done = follow(ASKED, (each) => turns.push(each), signal);
  await vi.runAllTimersAsync();
  await done;
  return turns;
}

test("a connection that breaks is taken up behind the last event", async () => {
  const unreachable = () => {
    throw new TypeError("unreachable");
  };
  replies = [stream(EVENTS.slice(0, 5)), unreachable, stream(EVENTS.slice(3))];
  const turns = await heard();
  expect(requests).toEqual(["resp_1?stream=true&starting_after=-1", "resp_1", "resp_1?stream=true&starting_after=4"]);
  expect(turns.at(-1)).toMatchObject({ status: "completed" });
  expect(turns.at(-1) && answerText(turns.at(-1) ?? ASKED)).toBe("Hello");
});

test("the stream of a cancelled response ends without an event that says so", async () => {
  replies = [stream(EVENTS.slice(0, 5)), () => Response.json({ ...ASKED, status: "cancelled", output: [] })];
  expect((await heard()).at(-1)?.status).toBe("cancelled");
});

test("what the server refuses is an end, and is shown", async () => {
  replies = [() => Response.json({ error: { code: "not_found", message: "No such response." } }, { status: 404 })];
  expect(await heard()).toMatchObject([{ status: "failed", error: { message: "No such response." } }]);
});

test("a server that fails is asked again", async () => {
  replies = [() => new Response("busy", { status: 503 }), stream(EVENTS)];
  expect((await heard()).at(-1)?.status).toBe("completed");
});

test("whoever leaves hears no more", async () => {
  const leaving = new AbortController();
  leaving.abort();
  expect(await heard(leaving.signal)).toEqual([]);
  expect(requests).toEqual([]);
});
