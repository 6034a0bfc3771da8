// The tool mcp with the npm package openai, through its three clients. test_mcp.py judges the output.

import OpenAI, { AzureOpenAI } from "openai";

const { BASE_URL, KEY, MODEL, SERVER } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2025-04-01-preview", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const asked = { model: MODEL, tools: [{ type: "mcp", server_label: "tests", server_url: SERVER }] };

async function used({ responses }) {
  const input = `!call tests__write ${JSON.stringify({ text: "from node" })}`;
  const first = await responses.create({ ...asked, input });
  const later = await responses.create({
    ...asked,
    previous_response_id: first.id,
    input: [{ type: "mcp_approval_response", approve: true, approval_request_id: first.output.at(-1).id }],
  });
  return {
    first: first.output.map((each) => each.type),
    later: later.output.map((each) => each.type),
    output: later.output[0].output,
  };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
