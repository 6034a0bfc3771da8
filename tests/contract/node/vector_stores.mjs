// What the npm package openai makes of vector stores, through its three clients. test_vector_stores.py judges the output.

import OpenAI, { AzureOpenAI, toFile } from "openai";

const { BASE_URL, KEY, DOCUMENTS } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const documents = () =>
  Promise.all(Object.entries(JSON.parse(DOCUMENTS)).map(([name, text]) => toFile(Buffer.from(text), name)));

async function used({ vectorStores }) {
  const made = await vectorStores.create({ name: "mine" });
  const file = await vectorStores.files.uploadAndPoll(made.id, await toFile(Buffer.from("Tea is hot."), "tea.txt"));
  const batch = await vectorStores.fileBatches.uploadAndPoll(made.id, { files: await documents() });
  const store = await vectorStores.retrieve(made.id);
  const { data } = await vectorStores.search(made.id, { query: "what do penguins eat?" });
  await vectorStores.files.update(data[0].file_id, { vector_store_id: made.id, attributes: { topic: "birds" } });
  const filtered = await vectorStores.search(made.id, {
    query: ["steam", "bread"], filters: { type: "eq", key: "topic", value: "birds" },
  });
  const listed = [];
  for await (const each of vectorStores.files.list(made.id, { limit: 1 })) listed.push(each.id);
  const stores = [];
  for await (const each of vectorStores.list({ limit: 1 })) stores.push(each.id);
  const deleted = await vectorStores.delete(made.id);
  const after = await vectorStores
    .retrieve(made.id)
    .catch((error) => ({ kind: error.constructor.name, status: error.status }));
  return {
    store, file, batch, first: data[0].filename, filtered: filtered.data.map((each) => each.filename), listed, stores,
    deleted, after,
  };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
