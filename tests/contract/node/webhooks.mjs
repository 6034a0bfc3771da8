// Webhooks with the npm package openai: endpoints through client.webhooks, and deliveries that arrive at a server of its
// own and are unwrapped. test_webhooks.py judges the output.

import { createServer } from "node:http";
import OpenAI, { AzureOpenAI } from "openai";

const { BASE_URL, KEY } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const failure = (error) => ({ kind: error.constructor.name, status: error.status, param: error.param });

// A receiver that keeps what it was sent, and can be waited for.
const arrived = [];
const waiting = [];
const server = createServer((request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    const one = { body, headers: request.headers };
    const next = waiting.shift();
    if (next) next(one);
    else arrived.push(one);
    response.writeHead(200).end();
  });
});
const receive = () => (arrived.length ? Promise.resolve(arrived.shift()) : new Promise((done) => waiting.push(done)));
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}/hook`;

async function used(client) {
  const hooks = client.webhooks;
  const types = (await hooks.eventTypes.list()).data;
  const made = await hooks.create({ name: "node", url, event_types: ["batch.completed", "fine_tuning.job.failed"] });
  const retrieved = await hooks.retrieve(made.id);
  const tested = await hooks.test(made.id, { event_type: "fine_tuning.job.failed" });
  const one = await receive();
  const unwrapped = await hooks.unwrap(one.body, one.headers, made.signing_secret);
  const forged = await hooks.unwrap(one.body.replace("evt_", "evt-"), one.headers, made.signing_secret).catch(failure);
  const rotated = await hooks.rotateSecret(made.id, { keep_old_secret_active_for_24_hours: true });
  await hooks.test(made.id, { event_type: "batch.completed" });
  const two = await receive();
  const both = [];
  for (const each of [made, rotated]) both.push((await hooks.unwrap(two.body, two.headers, each.signing_secret)).type);
  const updated = await hooks.update(made.id, { name: "renamed", event_types: ["batch.failed"] });
  const listed = [];
  for await (const each of hooks.list({ limit: 1 })) listed.push(each.id);
  const refused = await hooks.update(made.id, { url: "ftp://example.com" }).catch(failure);
  const deleted = await hooks.delete(made.id);
  const after = await hooks.retrieve(made.id).catch(failure);
  return { types, made, retrieved, tested, unwrapped, forged, rotated, both, updated, listed, refused, deleted, after };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
server.close();
