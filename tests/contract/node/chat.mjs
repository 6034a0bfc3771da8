// Talks to the server with both clients of the npm package `openai`, unchanged, and prints what they saw as JSON.
// BASE_URL (without /v1), KEY and MODEL come from the environment. test_node.py judges the output.

import OpenAI, { AzureOpenAI } from "openai";

const { BASE_URL, KEY, MODEL } = process.env;
const API_VERSION = "2024-10-21";
const messages = [{ role: "user", content: "Say hello." }];

const openai = (key = KEY) => new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: key, maxRetries: 0 });
const azure = (deployment = MODEL) =>
  new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: API_VERSION, deployment, maxRetries: 0 });

async function whole(client) {
  const { data, response } = await client.chat.completions.create({ model: MODEL, messages, max_tokens: 8 }).withResponse();
  return { body: data, requestId: data._request_id ?? null, headers: Object.fromEntries(response.headers) };
}

async function streamed(client) {
  const stream = await client.chat.completions.create({
    model: MODEL, messages, max_tokens: 8, stream: true, stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) if (chunk.id) chunks.push(chunk); // the first of Azure's has none
  return { chunks };
}

async function helper(client) {
  const runner = client.chat.completions.stream({ model: MODEL, messages, max_tokens: 8, temperature: 0 });
  return { body: await runner.finalChatCompletion() };
}

const parameters = {
  type: "object", properties: { city: { type: "string", maxLength: 20 } }, required: ["city"], additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "get_weather", strict: true, parameters } }];

// A call, its result told back, the answer to that; and a streamed call, put together by the package.
async function called(client) {
  const ask = [{ role: "user", content: "What is the weather in Paris?" }];
  const named = { type: "function", function: { name: "get_weather" } };
  const first = await client.chat.completions.create({
    model: MODEL, messages: ask, tools, tool_choice: named, max_tokens: 100,
  });
  const message = first.choices[0].message;
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" };
  const second = await client.chat.completions.create({
    model: MODEL, messages: [...ask, message, result], tools, tool_choice: "none", max_tokens: 20,
  });
  const runner = client.chat.completions.stream({
    model: MODEL, messages: ask, tools, tool_choice: "required", parallel_tool_calls: false, max_tokens: 100,
  });
  return { first, second, streamed: await runner.finalChatCompletion() };
}

async function failure(act) {
  try {
    await act();
    return { kind: null };
  } catch (error) {
    return {
      kind: error.constructor.name, status: error.status ?? null, code: error.code ?? null,
      type: error.type ?? null, param: error.param ?? null, message: error.message,
    };
  }
}

async function models(client) {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return { ids };
}

console.log(JSON.stringify({
  openai: { whole: await whole(openai()), streamed: await streamed(openai()), helper: await helper(openai()), called: await called(openai()) },
  azure: { whole: await whole(azure()), streamed: await streamed(azure()), helper: await helper(azure()), called: await called(azure()) },
  models: await models(openai()),
  errors: {
    wrongKey: await failure(() => whole(openai("wrong"))),
    noModel: await failure(() => openai().chat.completions.create({ model: "no-such-model", messages })),
    noDeployment: await failure(() => azure("no-such-deployment").chat.completions.create({ model: "", messages })),
    badField: await failure(() => openai().chat.completions.create({ model: MODEL, messages, temperature: 9 })),
  },
}));
