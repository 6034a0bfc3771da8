// `useChat` of @ai-sdk/react against a server: MAINSPRING_URL, MAINSPRING_KEY, MAINSPRING_MODEL.
import { useChat } from "@ai-sdk/react";
import { act, renderHook, waitFor } from "@testing-library/react";
import { DefaultChatTransport } from "ai";
import { expect, test } from "vitest";

const { MAINSPRING_URL: url, MAINSPRING_KEY: key, MAINSPRING_MODEL: model } = process.env;
const api = `${url}/v1/x/ui/chat`;
const headers = { authorization: `Bearer ${key}` };
const within = { timeout: 30_000 };

const transport = (more = {}) => new DefaultChatTransport({ api, headers, body: { model, ...more } });
const chat = (id, more = {}) => renderHook(() => useChat({ id, transport: transport(), ...more }));
const texts = (messages) =>
  messages.map(({ role, parts }) => [role, parts.filter(({ type }) => type === "text").map(({ text }) => text).join("")]);
const kept = async (id) => (await (await fetch(`${api}/${id}`, { headers })).json()).messages;
const ready = (hook) => waitFor(() => expect(hook.result.current.status).toBe("ready"), within);

async function say(hook, text) {
  await act(() => hook.result.current.sendMessage({ text }));
  await ready(hook);
}

test("a conversation of two turns, kept as it was told", async () => {
  const hook = chat("two-turns");
  await say(hook, "Hello, who are you?");
  await say(hook, "And what can you do?");
  const { messages } = hook.result.current;
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"]);
  expect(messages[1].id).toMatch(/^resp_/);
  expect(texts(messages)[1][1]).not.toBe("");
  expect(messages[1].metadata.usage.output_tokens).toBeGreaterThan(0);
  expect(texts(await kept("two-turns"))).toEqual(texts(messages));
});

test("a client that begins with what is kept goes on from it", async () => {
  await say(chat("again"), "My name is Ada.");
  const hook = chat("again", { messages: await kept("again") });
  await say(hook, "Who am I?");
  expect(texts(await kept("again"))).toEqual(texts(hook.result.current.messages));
  expect(hook.result.current.messages).toHaveLength(4);
});

test("an answer is made anew beside the first", async () => {
  const hook = chat("regenerate");
  await say(hook, "Hello");
  const first = hook.result.current.messages[1].id;
  await act(() => hook.result.current.regenerate());
  await ready(hook);
  expect(hook.result.current.messages).toHaveLength(2);
  expect(hook.result.current.messages[1].id).not.toBe(first);
  expect((await kept("regenerate")).map(({ id }) => id)).toContain(hook.result.current.messages[1].id);
});

test("history that is none of ours is sent along", async () => {
  const part = (text) => [{ type: "text", text }];
  const messages = [
    { id: "u1", role: "user", parts: part("My name is Ada.") },
    { id: "a1", role: "assistant", parts: part("Hello Ada.") },
  ];
  const hook = chat("foreign", { messages });
  await say(hook, "Who am I?");
  expect(texts(hook.result.current.messages)).toHaveLength(4);
  expect(texts(await kept("foreign"))[0]).toEqual(["user", "My name is Ada."]);
});

test("an answer goes on when its client leaves, is taken up by another, and ends when it is stopped", async () => {
  const hook = chat("resumed");
  act(() => void hook.result.current.sendMessage({ text: "!hang after 5" }));
  const said = () => texts(hook.result.current.messages)[1]?.[1] ?? "";
  await waitFor(() => expect(said()).not.toBe(""), within);
  hook.unmount();
  const [asked] = await kept("resumed");
  const other = chat("resumed", { messages: [asked], resume: true });
  await waitFor(() => expect(texts(other.result.current.messages)[1]?.[1]).toBeTruthy(), within);
  expect(other.result.current.status).toBe("streaming");
  await fetch(`${api}/resumed/stop`, { method: "POST", headers });
  await ready(other);
  expect(texts(await kept("resumed"))).toEqual(texts(other.result.current.messages));
  expect((await fetch(`${api}/resumed/stream`, { headers })).status).toBe(204);
});

test("an error is told in the server's words", async () => {
  const hook = chat("failing", { transport: transport({ model: "no-such-model" }) });
  await act(() => hook.result.current.sendMessage({ text: "Hello" }));
  await waitFor(() => expect(hook.result.current.status).toBe("error"), within);
  expect(hook.result.current.error.message).toContain("no-such-model");
});
