import { describe, expect, test } from "vitest";
import { chatRequest, completionRequest, embeddingsRequest, numberProblem, stopsOf } from "./request";
import { type ChatState, EXAMPLE_TOOL, initial, type Message, written } from "./state";

function chat(change: Partial<ChatState> = {}): ChatState {
  const messages: Message[] = [{ key: "1", role: "user", content: "Hi" }];
  return { ...initial().chat, model: "m", messages, ...change };
}

function fields({ problems }: { problems: { field: string }[] | null }): string[] | undefined {
  return problems?.map(({ field }) => field);
}

describe("chatRequest", () => {
  test("says nothing of what is left to the model", () => {
    expect(chatRequest(chat()).body).toEqual({ model: "m", messages: [{ role: "user", content: "Hi" }] });
  });

  test("has the parameters under the names of the API", () => {
    const parameters = {
      temperature: "0.5",
      top_p: " 1 ",
      max_tokens: "20",
      seed: "-7",
      frequency_penalty: "-2",
      presence_penalty: "0",
      stop: "\\n\\n\nEnd",
      logprobs: true,
      top_logprobs: "3",
    };
    expect(chatRequest(chat({ parameters })).body).toMatchObject({
      temperature: 0.5,
      top_p: 1,
      max_completion_tokens: 20,
      seed: -7,
      frequency_penalty: -2,
      presence_penalty: 0,
      stop: ["\n\n", "End"],
      logprobs: true,
      top_logprobs: 3,
    });
  });

  test("names every field that keeps it from running", () => {
    const parameters = { ...chat().parameters, temperature: "3", seed: "1.5", top_p: "x", stop: "a\nb\nc\nd\ne" };
    const tools = [{ key: "1", text: "{" }];
    const format = { type: "json_schema", name: "a", strict: true, schema: "{" } as const;
    expect(fields(chatRequest(chat({ model: "", parameters, tools, format })))).toEqual([
      "model",
      "tools",
      "schema",
      "temperature",
      "top_p",
      "seed",
      "stop",
    ]);
  });

  test("a call and its result go back as they came", () => {
    const messages: Message[] = [
      { key: "1", role: "assistant", content: "", calls: [{ id: "c1", name: "f", arguments: '{"a":1}' }] },
      { key: "2", role: "tool", content: "42", callId: "c1" },
    ];
    expect(chatRequest(chat({ messages })).body?.messages).toEqual([
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: '{"a":1}' } }],
      },
      { role: "tool", tool_call_id: "c1", content: "42" },
    ]);
  });

  test("tools are taken as functions and as tools, and one of them can be demanded", () => {
    const wrapped = written({ type: "function", function: EXAMPLE_TOOL });
    for (const text of [written(EXAMPLE_TOOL), wrapped]) {
      const { body } = chatRequest(chat({ tools: [{ key: "1", text }], toolChoice: "=get_weather" }));
      expect(body).toMatchObject({
        tools: [{ type: "function", function: EXAMPLE_TOOL }],
        tool_choice: { type: "function", function: { name: "get_weather" } },
      });
    }
    expect(chatRequest(chat({ toolChoice: "required" })).body).not.toHaveProperty("tool_choice");
  });

  test("the form of the answer", () => {
    const format = { name: "a", strict: false, schema: '{"type":"object"}' };
    const of = (type: "text" | "json_object" | "json_schema") =>
      chatRequest(chat({ format: { ...format, type } })).body?.response_format;
    expect(of("text")).toBeUndefined();
    expect(of("json_object")).toEqual({ type: "json_object" });
    expect(of("json_schema")).toEqual({
      type: "json_schema",
      json_schema: { name: "a", strict: false, schema: { type: "object" } },
    });
  });
});

test("completionRequest has OpenAI's older names", () => {
  const state = initial().completion;
  const parameters = { ...state.parameters, logprobs: true, top_logprobs: "" };
  expect(completionRequest({ ...state, model: "m", prompt: "", suffix: "x", echo: true, parameters }).body).toEqual({
    model: "m",
    prompt: "",
    suffix: "x",
    echo: true,
    max_tokens: 64,
    logprobs: 0,
  });
});

test("embeddingsRequest wants texts", () => {
  const state = { ...initial().embeddings, model: "m" };
  expect(embeddingsRequest({ ...state, texts: [{ key: "1", text: "a" }], dimensions: "8" }).body).toEqual({
    model: "m",
    input: ["a"],
    dimensions: 8,
  });
  expect(fields(embeddingsRequest({ ...state, texts: [{ key: "1", text: "" }], dimensions: "0" }))).toEqual([
    "texts",
    "dimensions",
  ]);
});

test("numberProblem", () => {
  const spec = { min: 0, max: 2 };
  expect(["", "0", "2", "1e-3"].map((text) => numberProblem(text, spec))).toEqual([null, null, null, null]);
  expect(numberProblem("-1", spec)).toBe("At least 0 is expected.");
  expect(numberProblem("2.1", spec)).toBe("At most 2 is expected.");
  expect(numberProblem("two", spec)).toBe("A number is expected.");
  // More than a number can be told apart from its neighbour.
  expect(numberProblem("9007199254740993", { isInteger: true })).toBe("A whole number is expected.");
});

test("stopsOf reads escapes", () => {
  expect(stopsOf("a\\nb\n\\\\n\n\n \\t")).toEqual(["a\nb", "\\n", " \t"]);
});
