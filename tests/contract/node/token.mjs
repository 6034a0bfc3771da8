// What the npm package openai makes of bearer tokens: a good one and a bad one, through AzureOpenAI and OpenAI.

import { AzureOpenAI, OpenAI } from "openai";

const { BASE_URL, KEY, MODEL } = process.env;
const azure = (token) =>
  new AzureOpenAI({
    endpoint: BASE_URL,
    apiVersion: "2024-10-21",
    azureADTokenProvider: async () => token,
    maxRetries: 0,
  });
const clients = { azure, v1: (token) => new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: token, maxRetries: 0 }) };
const ask = { model: MODEL, messages: [{ role: "user", content: "Say hello." }], max_tokens: 5 };

const seen = {};
for (const [name, client] of Object.entries(clients)) {
  const answer = await client(KEY).chat.completions.create(ask);
  const refusal = await client(`${KEY}x`)
    .chat.completions.create(ask)
    .catch((error) => ({ name: error.constructor.name, status: error.status, message: error.message, code: error.code }));
  seen[name] = { answer, refusal };
}
console.log(JSON.stringify(seen));
