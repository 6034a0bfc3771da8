// What the npm package openai makes of uploads, through its three clients, unchanged. test_uploads.py judges the output.

import OpenAI, { AzureOpenAI, toFile } from "openai";

const { BASE_URL, KEY } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
  azure_v1: new OpenAI({ baseURL: `${BASE_URL}/openai/v1/`, apiKey: KEY, maxRetries: 0 }),
};
const failure = (error) => ({ kind: error.constructor.name, status: error.status, code: error.code });
const given = { filename: "mine.txt", purpose: "user_data", bytes: 6, mime_type: "text/plain" };

async function used(client) {
  const { uploads, files } = client;
  const begun = await uploads.create({ ...given, expires_after: { anchor: "created_at", seconds: 7200 } });
  const texts = ["ef", "cd", "ab"];
  const parts = await Promise.all(
    texts.map(async (text) => uploads.parts.create(begun.id, { data: await toFile(Buffer.from(text)) })),
  );
  const part_ids = parts.map((part) => part.id).reverse();
  const short = await uploads.complete(begun.id, { part_ids: part_ids.slice(1) }).catch(failure);
  const wrong = await uploads.complete(begun.id, { part_ids, md5: "0".repeat(32) }).catch(failure);
  const completed = await uploads.complete(begun.id, { part_ids, md5: "e80b5017098950fc58aad83c8c14978e" });
  const twice = await uploads.complete(begun.id, { part_ids }).catch(failure);
  const content = await (await files.content(completed.file.id)).text();
  const cancelled = await uploads.cancel((await uploads.create(given)).id);
  const after = await uploads.parts.create(cancelled.id, { data: await toFile(Buffer.from("x")) }).catch(failure);
  return { begun, part: parts[0], short, wrong, completed, twice, content, cancelled, after };
}

const seen = {};
for (const [name, client] of Object.entries(clients)) seen[name] = await used(client);
console.log(JSON.stringify(seen));
