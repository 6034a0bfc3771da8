// A chat over documents with the npm package openai, through its three clients. test_data_sources.py judges the output.

import OpenAI, { AzureOpenAI } from "openai";

const { BASE_URL, KEY, MODEL, STORE } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const asked = {
  model: MODEL,
  seed: 5,
  messages: [{ role: "user", content: "What do penguins eat? !cite" }],
  data_sources: [{ type: "vector_store", parameters: { vector_store_ids: [STORE], strictness: 1 } }],
};

async function used({ chat }) {
  const { message } = (await chat.completions.create(asked)).choices[0];
  const contexts = [];
  let streamed = "";
  for await (const { choices } of await chat.completions.create({ ...asked, stream: true })) {
    streamed += choices[0]?.delta.content ?? "";
    if (choices[0]?.delta.context) contexts.push(choices[0].delta.context);
  }
  return { text: message.content, context: message.context, streamed, contexts };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
