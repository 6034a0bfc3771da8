// The tool file_search with the npm package openai, through its three clients. test_file_search.py judges the output.

import OpenAI, { AzureOpenAI } from "openai";

const { ASK, BASE_URL, KEY, MODEL, STORE } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2025-04-01-preview", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const asked = { model: MODEL, input: ASK, tools: [{ type: "file_search", vector_store_ids: [STORE] }] };

async function used({ responses }) {
  const without = await responses.create(asked);
  const stream = responses.stream({ ...asked, include: ["file_search_call.results"] });
  const events = [];
  let streamed = "";
  for await (const event of stream) {
    if (event.type.startsWith("response.file_search_call.")) events.push(event.type.split(".").pop());
    if (event.type === "response.output_text.delta") streamed += event.delta;
  }
  const { output } = await stream.finalResponse();
  const { text, annotations } = output.at(-1).content[0];
  return { without: without.output[0].results, results: output[0].results, text, annotations, streamed, events };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
