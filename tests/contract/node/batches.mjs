// Batches with the npm package openai, through its three clients, unchanged. test_batches.py judges the output.

import OpenAI, { AzureOpenAI, toFile } from "openai";

const { BASE_URL, KEY, MODEL, LINES, BARE } = process.env;
const options = { apiKey: KEY, maxRetries: 0 };
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, ...options }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiVersion: "2024-10-21", deployment: MODEL, ...options }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, ...options }),
};
const failure = (error) => ({ kind: error.constructor.name, status: error.status });
const rest = (ms) => new Promise((done) => setTimeout(done, ms));

async function ran(client, text) {
  const file = await client.files.create({ file: await toFile(Buffer.from(text), "a.jsonl"), purpose: "batch" });
  let batch = await client.batches.create({
    input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h",
  });
  for (let tries = 0; tries < 1000 && !["completed", "failed"].includes(batch.status); tries++) {
    await rest(30);
    batch = await client.batches.retrieve(batch.id);
  }
  return batch;
}

async function used(name, client) {
  const batch = await ran(client, LINES);
  const output = await (await client.files.content(batch.output_file_id)).text();
  const cancelled = await client.batches.cancel(batch.id).catch(failure);
  let listed = false;
  for await (const each of client.batches.list({ limit: 1 })) listed ||= each.id === batch.id;
  return { batch, output, cancelled, listed, bare: name === "azure" ? await ran(client, BARE) : null };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(name, client);
console.log(JSON.stringify(seen));
