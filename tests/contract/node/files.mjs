// What the npm package openai makes of files, through its three clients, unchanged. test_files.py judges the output.

import OpenAI, { AzureOpenAI, toFile } from "openai";

const { BASE_URL, KEY } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const failure = (error) => ({ kind: error.constructor.name, status: error.status, message: error.message });
const lines = (text) => toFile(Buffer.from(text), "mine.jsonl");

async function used(files) {
  const made = await files.create({ file: await lines('{"messages":[]}\n'), purpose: "fine-tune" });
  const short = await files.create({
    file: await lines("{}"), purpose: "fine-tune", expires_after: { anchor: "created_at", seconds: 7200 },
  });
  const retrieved = await files.retrieve(made.id);
  const waited = await files.waitForProcessing(made.id);
  const content = await (await files.content(made.id)).text();
  const broken = await files.create({ file: await lines('{}\n{"a"\n'), purpose: "fine-tune" }).catch(failure);
  const more = [];
  for (let at = 0; at < 3; at++) more.push(await files.create({ file: await lines(`{"${at}":0}`), purpose: "batch" }));
  const ours = new Set([made, short, ...more].map((file) => file.id));
  const listed = [];
  for await (const file of files.list({ limit: 2, order: "asc" })) if (ours.has(file.id)) listed.push(file.id);
  const deleted = await files.delete(made.id);
  const { kind, status } = await files.retrieve(made.id).catch(failure);
  return {
    made, retrieved, waited, content, broken, listed, deleted, after: { kind, status },
    expires_s: short.expires_at - short.created_at,
  };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client.files);
console.log(JSON.stringify(seen));
