// Fine-tuning with the npm package openai, through its three clients, unchanged. test_fine_tuning.py judges the output.

import OpenAI, { AzureOpenAI, toFile } from "openai";

const { BASE_URL, KEY, EXAMPLES, SLOW } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const failure = (error) => ({ kind: error.constructor.name, status: error.status, code: error.code });
const rest = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(jobs, id, ...statuses) {
  const seen = [];
  for (let tries = 0; tries < 1500; tries++) {
    const job = await jobs.retrieve(id);
    if (seen.at(-1) !== job.status) seen.push(job.status);
    if (statuses.includes(job.status)) return { job, seen };
    await rest(40);
  }
  throw new Error(`${id}: ${seen}`);
}

async function used(client) {
  const jobs = client.fineTuning.jobs;
  const upload = async (text) =>
    (await client.files.create({ file: await toFile(Buffer.from(text), "a.jsonl"), purpose: "fine-tune" })).id;

  const made = await jobs.create({ model: "tiny", training_file: await upload(EXAMPLES), seed: 7 });
  const { job, seen } = await until(jobs, made.id, "succeeded", "failed");
  const events = [];
  for await (const event of jobs.listEvents(made.id, { limit: 3 })) events.push(event.id);
  const checkpoints = [];
  for await (const each of jobs.checkpoints.list(made.id, { limit: 1 })) checkpoints.push(each.step_number);
  const results = await (await client.files.content(job.result_files[0])).text();

  const slow = await jobs.create({ model: "tiny", training_file: await upload(SLOW), seed: 7 });
  await until(jobs, slow.id, "running");
  const paused = (await jobs.pause(slow.id)).status;
  const twice = await jobs.pause(slow.id).catch(failure);
  const resumed = (await jobs.resume(slow.id)).status;
  const cancelled = (await jobs.cancel(slow.id)).status;
  const over = await jobs.resume(slow.id).catch(failure);

  const listed = [];
  for await (const each of jobs.list({ limit: 1 })) if ([made.id, slow.id].includes(each.id)) listed.push(each.id);
  return { job, seen, events, checkpoints, results, paused, twice, resumed, cancelled, over, newest: listed[0] === slow.id };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
