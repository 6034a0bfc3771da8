import { describe, expect, test } from "vitest";
import { checkSchema } from "./schema";

const PERSON = {
  type: "object",
  properties: { name: { type: "string" }, child: { $ref: "#" } },
  required: ["name", "child"],
  additionalProperties: false,
};

function said(schema: unknown, strict = false): string[] {
  return checkSchema(schema, strict).map(({ path, message }) => `${path} ${message}`);
}

describe("checkSchema", () => {
  test("takes what the server takes", () => {
    expect(said(PERSON, true)).toEqual([]);
    expect(
      said({ $ref: "#/$defs/p", $defs: { p: { ...PERSON, properties: { name: true }, required: ["name"] } } }, true),
    ).toEqual([]);
    expect(said({ type: ["string", "null"], pattern: "^a$" })).toEqual([]);
  });

  test.each([
    [[], [" A schema is an object."]],
    [{ type: "text" }, ['/type There is no type "text".']],
    [{ properties: [] }, ["/properties An object of schemas is expected."]],
    [{ anyOf: {} }, ["/anyOf A list of schemas is expected."]],
    [{ properties: { "a/b": 1 } }, ["/properties/a~1b A schema is expected: an object."]],
    [{ required: "a" }, ["/required A list of names is expected."]],
    [{ enum: [] }, ["/enum A list of values is expected."]],
    [{ pattern: "(" }, ["/pattern This is no regular expression."]],
    [{ items: { $ref: "#/$defs/none" } }, ["/items/$ref #/$defs/none leads nowhere."]],
    [{ $ref: "https://example.com" }, ["/$ref Only references within the schema (#/$defs/…) are followed."]],
  ])("%j", (schema, issues) => {
    expect(said(schema)).toEqual(issues);
  });

  test("strict asks for every key, and for no others, at every depth", () => {
    const inner = { type: "object", properties: { a: { type: "string" } } };
    expect(said({ ...PERSON, properties: { ...PERSON.properties, child: inner } }, true)).toEqual([
      "/properties/child Strict: “additionalProperties” must be false.",
      "/properties/child/properties/a Strict: “required” must list it.",
    ]);
    expect(said({ ...PERSON, required: ["name", "child", "age"] }, true)).toEqual([
      "/required Strict: “age” is required, and is no property.",
    ]);
    expect(said({ type: "array" }, true)).toEqual([" Strict: the root must have the type “object”."]);
    expect(said({ anyOf: [PERSON] }, true)).toEqual([" Strict: the root must be an object, not a choice."]);
  });
});
