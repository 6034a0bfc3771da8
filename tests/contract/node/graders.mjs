// Runs and validates graders with both clients of the npm package `openai`, unchanged, and prints what they saw as JSON.
// BASE_URL (without /v1), KEY and GRADERS (name -> [grader, item, answer]) come from the environment.

import OpenAI, { AzureOpenAI } from "openai";

const { BASE_URL, KEY, GRADERS } = process.env;
const clients = {
  openai: new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: KEY, maxRetries: 0 }),
  azure: new AzureOpenAI({ endpoint: BASE_URL, apiKey: KEY, apiVersion: "2024-10-21", maxRetries: 0 }),
};

const seen = {};
for (const [client, { fineTuning }] of Object.entries(clients)) {
  seen[client] = {};
  for (const [name, [grader, item, model_sample]] of Object.entries(JSON.parse(GRADERS))) {
    seen[client][name] = {
      run: await fineTuning.alpha.graders.run({ grader, item, model_sample }),
      validate: await fineTuning.alpha.graders.validate({ grader }),
    };
  }
  try {
    await fineTuning.alpha.graders.validate({ grader: { type: "string_check" } });
  } catch (error) {
    seen[client].error = { kind: error.constructor.name, status: error.status, param: error.param };
  }
}
console.log(JSON.stringify(seen));
