import { API_VERSION, hasTools, KEY_VARIABLE, type Operation, type Source } from "./code";
import { javascript, quoted } from "./literals";

const METHODS: Record<Operation, string> = {
  chat: "chat.completions.create",
  completion: "completions.create",
  embeddings: "embeddings.create",
};

export function node(source: Source): string {
  const { operation, body, streams, dialect } = source;
  const given = Object.entries(streams ? { ...body, stream: true } : body).map(([name, value]) => {
    const note = name === "model" && dialect === "azure" ? " // the name of the deployment" : "";
    return `  ${name}: ${javascript(value, 1)},${note}\n`;
  });
  const result = streams ? "stream" : "answer";
  const call = `const ${result} = await client.${METHODS[operation]}({\n${given.join("")}});\n`;
  return `${client(source)}\n${call}${streams ? streamed(source) : whole(source)}`;
}

function client({ dialect, server }: Source): string {
  const key = `  apiKey: process.env.${KEY_VARIABLE},\n`;
  if (dialect === "openai")
    return `import OpenAI from "openai";\n\nconst client = new OpenAI({\n  baseURL: ${quoted(`${server}/v1`)},\n${key}});\n`;
  return [
    'import { AzureOpenAI } from "openai";\n\nconst client = new AzureOpenAI({\n',
    `  endpoint: ${quoted(server)},\n  apiVersion: ${quoted(API_VERSION)},\n${key}});\n`,
  ].join("");
}

function streamed(source: Source): string {
  const chunk = hasTools(source)
    ? "console.log(JSON.stringify(chunk.choices[0]?.delta ?? {}));"
    : `process.stdout.write(chunk.choices[0]?.${source.operation === "chat" ? "delta.content" : "text"} ?? "");`;
  return `for await (const chunk of stream) {\n  ${chunk}\n}\n`;
}

function whole(source: Source): string {
  if (source.operation === "embeddings")
    return [
      "for (const { index, embedding } of answer.data) {\n",
      "  console.log(index, embedding.length, embedding.slice(0, 4));\n}\n",
    ].join("");
  if (source.operation === "completion") return "console.log(answer.choices[0].text);\n";
  return hasTools(source)
    ? "console.log(JSON.stringify(answer.choices[0].message, null, 2));\n"
    : "console.log(answer.choices[0].message.content);\n";
}
