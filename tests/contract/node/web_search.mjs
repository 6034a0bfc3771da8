// The tool web_search with the npm package openai, through its three clients. test_web_search.py judges the output.

import OpenAI, { AzureOpenAI } from "openai";

const { ASK, BASE_URL, KEY, MODEL } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2025-04-01-preview", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};

async function used({ responses }) {
  const { output } = await responses.create({
    model: MODEL, input: ASK, tools: [{ type: "web_search" }], include: ["web_search_call.action.sources"],
  });
  const { text, annotations } = output.at(-1).content[0];
  // Positions are in characters; JavaScript counts in units of UTF-16.
  const characters = Array.from(text);
  const spans = annotations.map((each) => characters.slice(each.start_index, each.end_index).join(""));
  return { sources: output[0].action.sources, spans };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
