import { describe, expect, test } from "vitest";
import { begin, completionWords, takeChat, takeCompletion, tokensPerSecond } from "./answer";

const delta = (content: object, finish_reason: string | null = null) => ({
  choices: [{ delta: content, finish_reason, logprobs: null }],
});

describe("a chat", () => {
  test("grows by what its chunks add", () => {
    const chunks = [
      delta({ role: "assistant", content: "" }),
      delta({ content: "Hel" }),
      delta({ content: "lo" }),
      delta({}, "stop"),
      { choices: [], usage: { prompt_tokens: 3, completion_tokens: 11, total_tokens: 14 } },
    ];
    const answer = chunks.reduce((had, chunk, at) => takeChat(had, chunk, 100 * (at + 1)), begin(0));
    expect(answer).toMatchObject({ text: "Hello", finish: "stop", firstMs: 200, error: null });
    expect(tokensPerSecond({ ...answer, endedMs: 1200 })).toBe(10);
    expect(tokensPerSecond(answer)).toBeNull();
    expect(tokensPerSecond({ ...answer, endedMs: 201 })).toBeNull();
  });

  test("pieces of calls belong to the call of their index", () => {
    const chunks = [
      delta({ tool_calls: [{ index: 0, id: "c0", type: "function", function: { name: "f", arguments: "" } }] }),
      delta({ tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] }),
      delta({ tool_calls: [{ index: 1, id: "c1", type: "function", function: { name: "g", arguments: "{}" } }] }),
      delta({ tool_calls: [{ index: 0, function: { arguments: ":1}" } }] }),
    ];
    const { calls, firstMs } = chunks.reduce((had, chunk) => takeChat(had, chunk, 5), begin(0));
    expect(calls).toEqual([
      { id: "c0", name: "f", arguments: '{"a":1}' },
      { id: "c1", name: "g", arguments: "{}" },
    ]);
    expect(firstMs).toBe(5);
  });

  test("an error in the stream is told, and what came before it stays", () => {
    const answer = takeChat(begin(0), delta({ content: "Hel" }), 1);
    expect(takeChat(answer, { error: { message: "The model has gone." } }, 2)).toMatchObject({
      text: "Hel",
      error: "The model has gone.",
    });
  });
});

describe("a completion, word by word", () => {
  const logprobs = {
    tokens: ["a", "\ufffd", "\ufffd", "b"],
    token_logprobs: [0, -1, -1, -2],
    top_logprobs: [{ a: 0 }, { "\ufffd": -1 }, { "\ufffd": -1 }, { c: -0.1, b: -2 }],
    text_offset: [0, 1, 1, 2],
  };
  const answer = takeCompletion(begin(0), { choices: [{ text: "a😀b", logprobs }] }, 1);

  test("a character of several tokens is shown with the last of them", () => {
    expect(completionWords(answer).words.map(({ text }) => text)).toEqual(["a", "", "😀", "b"]);
  });

  test("alternatives say what the text would begin with", () => {
    const { words } = completionWords(answer);
    expect(words[3]?.alternatives).toEqual([
      { text: "c", probability: Math.exp(-0.1), isChosen: false, prefix: "a😀c" },
      { text: "b", probability: Math.exp(-2), isChosen: true, prefix: "a😀b" },
    ]);
    expect(words[1]?.alternatives[0]?.prefix).toBeNull();
  });
});
