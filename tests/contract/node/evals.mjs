// What the npm package openai makes of evaluations, stored chats and moderations, through its three clients, unchanged.
// test_evals.py judges the output.

import OpenAI, { AzureOpenAI, toFile } from "openai";

const { BASE_URL, KEY } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const failure = (error) => ({ kind: error.constructor.name, status: error.status, code: error.code });

async function all(pages) {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
}

async function ended(evals, id, run) {
  for (;;) {
    const found = await evals.runs.retrieve(run, { eval_id: id });
    if (!["queued", "in_progress"].includes(found.status)) return found;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

async function evaluated(client) {
  const { evals } = client;
  const made = await evals.create({
    name: "from node", metadata: { by: "node" },
    data_source_config: { type: "custom", item_schema: { type: "object", required: ["q"] }, include_sample_schema: true },
    testing_criteria: [{
      type: "string_check", name: "has", input: "{{sample.output_text}}", reference: "{{item.a}}", operation: "like",
    }],
  });
  const lines = [1, 2, 3].map((at) => JSON.stringify({ item: { q: `q ${at}`, a: at === 2 ? "xyzzy" : "" } })).join("\n");
  const file = await client.files.create({ file: await toFile(Buffer.from(lines), "x.jsonl"), purpose: "evals" });
  const input_messages = { type: "template", template: [{ role: "user", content: "{{item.q}}" }] };
  const data_source = { type: "completions", model: "fake", input_messages, source: { type: "file_id", id: file.id } };
  const run = await ended(evals, made.id, (await evals.runs.create(made.id, { name: "first", data_source })).id);
  const items = await all(evals.runs.outputItems.list(run.id, { eval_id: made.id, limit: 2 }));
  const failed = await all(evals.runs.outputItems.list(run.id, { eval_id: made.id, status: "fail" }));
  const one = await evals.runs.outputItems.retrieve(items[0].id, { eval_id: made.id, run_id: run.id });
  const cancelled = await evals.runs.cancel(run.id, { eval_id: made.id }).catch(failure);
  const renamed = await evals.update(made.id, { name: "renamed" });
  const runs = await all(evals.runs.list(made.id));
  const gone = await evals.runs.delete(run.id, { eval_id: made.id });
  const deleted = await evals.delete(made.id);
  const after = await evals.retrieve(made.id).catch(failure);
  return {
    made, run, items, failed: failed.map((item) => item.id), one, cancelled, renamed: renamed.name,
    runs: runs.map((each) => each.id), gone, deleted, after,
  };
}

async function stored(client) {
  const { completions } = client.chat;
  const messages = [{ role: "user", content: "Hello" }];
  const made = await completions.create({ model: "fake", messages, store: true, metadata: { by: "node" } });
  const found = await completions.retrieve(made.id);
  const updated = await completions.update(made.id, { metadata: { by: "me" } });
  const sent = await all(completions.messages.list(made.id));
  const listed = await all(completions.list({ metadata: { by: "me" } }));
  const deleted = await completions.delete(made.id);
  const after = await completions.retrieve(made.id).catch(failure);
  return { made, found, updated, sent, listed: listed.map((each) => each.id), deleted, after };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) {
  const moderated = await client.moderations.create({ input: "You are a worthless idiot." });
  seen[name] = { ...(await evaluated(client)), stored: await stored(client), moderated };
}
console.log(JSON.stringify(seen));
