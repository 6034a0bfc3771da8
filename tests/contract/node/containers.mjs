// Containers and the code interpreter with the npm package openai, through its three clients. test_containers.py judges.

import OpenAI, { AzureOpenAI, toFile } from "openai";

const { BASE_URL, KEY, MODEL } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2025-04-01-preview", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const code = "open('new.txt', 'w').write('WRITTEN')\nprint(open('in.txt').read().upper())";

async function used({ containers, files, responses }) {
  const uploaded = await files.create({ file: await toFile(Buffer.from("x"), "x.txt"), purpose: "user_data" });
  const made = await containers.create({ name: "mine", file_ids: [uploaded.id] });
  const file = await containers.files.create(made.id, { file: await toFile(Buffer.from("hello"), "in.txt") });
  const got = await containers.files.content.retrieve(file.id, { container_id: made.id });
  const content = await got.text();
  const listed = [];
  for await (const each of containers.files.list(made.id, { limit: 1 })) listed.push(each.id);
  const { output } = await responses.create({
    model: MODEL,
    input: `!call python ${JSON.stringify({ code })}`,
    tools: [{ type: "code_interpreter", container: made.id }],
    include: ["code_interpreter_call.outputs"],
  });
  const citation = output.at(-1).content[0].annotations[0];
  const written = await containers.files.content.retrieve(citation.file_id, { container_id: citation.container_id });
  const cited = await written.text();
  await containers.delete(made.id);
  const after = await containers
    .retrieve(made.id)
    .catch((error) => ({ kind: error.constructor.name, status: error.status }));
  return { content, listed, logs: output[0].outputs[0].logs, cited, after };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
