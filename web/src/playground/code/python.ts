import { API_VERSION, hasTools, KEY_VARIABLE, type Operation, type Source } from "./code";
import { python as literal, quoted } from "./literals";

const METHODS: Record<Operation, string> = {
  chat: "chat.completions.create",
  completion: "completions.create",
  embeddings: "embeddings.create",
};

export function python(source: Source): string {
  const { operation, body, streams, dialect } = source;
  const given = Object.entries(streams ? { ...body, stream: true } : body).map(([name, value]) => {
    const note = name === "model" && dialect === "azure" ? "  # the name of the deployment" : "";
    return `    ${name}=${literal(value, 1)},${note}\n`;
  });
  const result = streams ? "stream" : "answer";
  const call = `${result} = client.${METHODS[operation]}(\n${given.join("")})\n`;
  return `import os\n\n${client(source)}\n${call}${streams ? streamed(source) : whole(source)}`;
}

function client({ dialect, server }: Source): string {
  const key = `    api_key=os.environ[${quoted(KEY_VARIABLE)}],\n`;
  if (dialect === "openai")
    return `from openai import OpenAI\n\nclient = OpenAI(\n    base_url=${quoted(`${server}/v1`)},\n${key})\n`;
  return [
    "from openai import AzureOpenAI\n\nclient = AzureOpenAI(\n",
    `    azure_endpoint=${quoted(server)},\n    api_version=${quoted(API_VERSION)},\n${key})\n`,
  ].join("");
}

function streamed(source: Source): string {
  const { operation } = source;
  const text = operation === "chat" ? 'chunk.choices[0].delta.content or ""' : "chunk.choices[0].text";
  if (hasTools(source))
    return "for chunk in stream:\n    if chunk.choices:\n        print(chunk.choices[0].delta.to_json(indent=None))\n";
  return `for chunk in stream:\n    if chunk.choices:\n        print(${text}, end="", flush=True)\nprint()\n`;
}

function whole(source: Source): string {
  if (source.operation === "embeddings")
    return "for item in answer.data:\n    print(item.index, len(item.embedding), item.embedding[:4])\n";
  if (source.operation === "completion") return "print(answer.choices[0].text)\n";
  return hasTools(source)
    ? "print(answer.choices[0].message.to_json())\n"
    : "print(answer.choices[0].message.content)\n";
}
