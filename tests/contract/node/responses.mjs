// What the npm package openai makes of responses and conversations, through its three clients, unchanged.
// test_responses.py judges the output.

import OpenAI, { AzureOpenAI } from "openai";

const { BASE_URL, KEY, MODEL } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2025-04-01-preview", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const failure = (error) => ({ kind: error.constructor.name, status: error.status });
const ask = { model: MODEL, input: "Hello" };
const format = {
  type: "json_schema", name: "answer", strict: true,
  schema: {
    type: "object", properties: { city: { type: "string" }, degrees: { type: "integer" } },
    required: ["city", "degrees"], additionalProperties: false,
  },
};
const deltas = (events) => events.filter((one) => one.type === "response.output_text.delta").map((one) => one.delta).join("");

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function inBackground(responses) {
  const made = await responses.create({ ...ask, background: true });
  let last = made;
  for (let at = 0; at < 400 && ["queued", "in_progress"].includes(last.status); at++) {
    await new Promise((done) => setTimeout(done, 20));
    last = await responses.retrieve(made.id);
  }
  return { first: made.status, last: last.status };
}

async function resumed(responses) {
  const events = [];
  for await (const event of await responses.create({ ...ask, background: true, stream: true })) {
    events.push(event);
    if (events.length === 7) break;
  }
  const { id } = events[0].response;
  events.push(...await all(await responses.retrieve(id, { stream: true, starting_after: events.at(-1).sequence_number })));
  const whole = (await responses.retrieve(id)).output_text;
  return { numbers: events.map((one) => one.sequence_number), text: deltas(events), whole };
}

async function conversed(client) {
  const made = await client.conversations.create({ items: [{ type: "message", role: "user", content: "I am Ada." }] });
  await client.conversations.items.create(made.id, { items: [{ type: "message", role: "user", content: "Hm." }] });
  await client.responses.create({ ...ask, conversation: made.id });
  let items = 0;
  for await (const _ of client.conversations.items.list(made.id, { limit: 1 })) items++;
  const gone = await client.conversations.delete(made.id);
  return { items, deleted: gone.deleted };
}

async function used(client) {
  const { responses } = client;
  const made = await responses.create(ask);
  const { output_text: outputText, ...body } = made;
  const events = await all(await responses.create({ ...ask, stream: true }));
  const helper = (await responses.stream(ask).finalResponse()).output_text;
  const recalled = await responses.create({ ...ask, previous_response_id: made.id });
  const unstored = await responses.create({ ...ask, store: false });
  const parsed = await responses.parse({ ...ask, text: { format } });
  const long = await responses.create({
    model: MODEL, input: [..."12345"].map((content) => ({ role: "user", content })),
  });
  const items = [];
  for await (const item of responses.inputItems.list(long.id, { limit: 2 })) items.push(item.id);
  const seen = {
    made: body, outputText, numbers: events.map((one) => one.sequence_number), streamed: deltas(events), helper, items,
    recalled, unstored: await responses.retrieve(unstored.id).catch(failure),
    parsed: JSON.parse(parsed.output_text), background: await inBackground(responses),
    resumed: await resumed(responses), conversation: await conversed(client),
  };
  await responses.delete(made.id);
  return { ...seen, deleted: await responses.retrieve(made.id).catch(failure) };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
