import { describe, expect, test } from "vitest";
import { codeOf, DIALECTS, LANGUAGES, type Source } from "./code";
import { inShell } from "./curl";
import { javascript, python, quoted } from "./literals";

const NASTY = [
  'it\'s "quoted" \\ and \\n',
  "line\nbreak\r\ttab\u0000\u001b",
  "$HOME `id` $(id) %s {x} #{y}",
  "''' \"\"\" \\' \\\" '\\''",
  "\u2028\u2029\u202e\ufeff\u200b é 😀 \ud83d",
  "</script><!--",
];

function source(change: Partial<Source> = {}): Source {
  const body = { model: "m", messages: [{ role: "user", content: "Hi" }] };
  return { operation: "chat", body, streams: false, dialect: "openai", server: "http://127.0.0.1:8000", ...change };
}

describe("literals", () => {
  const value = { text: NASTY, "odd key": [true, false, null, -1.5, 1e21], __proto_: {}, [NASTY[0] ?? ""]: [] };

  test("JavaScript's mean the value", () => {
    const [read] = [new Function(`return ${javascript(value, 0)}`)()];
    expect(read).toEqual(value);
  });

  test("a key that would set the prototype is a key", () => {
    const tricky = JSON.parse('{"__proto__": {"a": 1}, "b": 2}');
    const read = new Function(`return ${javascript(tricky, 0)}`)();
    expect(JSON.stringify(read)).toBe(JSON.stringify(tricky));
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });

  test("Python's are Python's", () => {
    expect(python({ a: [true, false, null], b: { c: "d" } }, 0)).toBe('{"a": [True, False, None], "b": {"c": "d"}}');
  });

  test("what is long is broken into lines, which end in a comma", () => {
    expect(python({ a: "x".repeat(40), b: { c: "y".repeat(40) } }, 1)).toBe(
      `{\n        "a": "${"x".repeat(40)}",\n        "b": {"c": "${"y".repeat(40)}"},\n    }`,
    );
  });

  test("nothing that is not seen is in a string", () => {
    expect(quoted("a\u202eb\u200b\u0007")).toBe('"a\\u202eb\\u200b\\u0007"');
  });
});

test("a shell takes all between single quotes as it is, but for these", () => {
  expect(inShell('it\'s $HOME `id` \\ "x"\n')).toBe("'it'\\''s $HOME `id` \\ \"x\"\n'");
});

describe("programs", () => {
  test("Python for OpenAI", () => {
    expect(codeOf("python", source())).toBe(`import os

from openai import OpenAI

client = OpenAI(
    base_url="http://127.0.0.1:8000/v1",
    api_key=os.environ["MAINSPRING_API_KEY"],
)

answer = client.chat.completions.create(
    model="m",
    messages=[{"role": "user", "content": "Hi"}],
)
print(answer.choices[0].message.content)
`);
  });

  test("Python for Azure, streamed", () => {
    const code = codeOf("python", source({ dialect: "azure", streams: true }));
    expect(code).toContain('azure_endpoint="http://127.0.0.1:8000",\n    api_version="2024-10-21",');
    expect(code).toContain('    model="m",  # the name of the deployment\n');
    expect(code).toContain("    stream=True,\n)\nfor chunk in stream:\n");
  });

  test("Node for both", () => {
    expect(codeOf("node", source())).toContain('new OpenAI({\n  baseURL: "http://127.0.0.1:8000/v1",');
    expect(codeOf("node", source({ dialect: "azure" }))).toContain('  endpoint: "http://127.0.0.1:8000",');
  });

  test("curl: OpenAI's has the model in the body, Azure's in the address", () => {
    expect(codeOf("curl", source())).toBe(`curl -sS 'http://127.0.0.1:8000/v1/chat/completions' \\
  -H "Authorization: Bearer $MAINSPRING_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
  "model": "m",
  "messages": [
    {
      "role": "user",
      "content": "Hi"
    }
  ]
}'
`);
    const body = { model: "a/b 'c'", input: ["x"] };
    const azure = codeOf("curl", source({ operation: "embeddings", body, dialect: "azure" }));
    expect(azure.split("\n")[0]).toBe(
      String.raw`curl -sS 'http://127.0.0.1:8000/openai/deployments/a%2Fb%20'\''c'\''/embeddings?api-version=2024-10-21' ` +
        "\\",
    );
    expect(azure).not.toContain('"model"');
  });

  test("the key is in none of them", () => {
    for (const language of LANGUAGES) {
      for (const dialect of DIALECTS) expect(codeOf(language, source({ dialect }))).toContain("MAINSPRING_API_KEY");
    }
  });

  test("with tools, the message is shown whole: its text may be empty", () => {
    const body = { ...source().body, tools: [{ type: "function", function: { name: "f" } }] };
    expect(codeOf("python", source({ body }))).toContain("message.to_json()");
    expect(codeOf("node", source({ body, streams: true }))).toContain("JSON.stringify(chunk.choices[0]?.delta");
  });
});
