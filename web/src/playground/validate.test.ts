import { describe, expect, test } from "vitest";
import { validate } from "./validate";

const SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, tags: { type: "array", items: { enum: ["a", "b"] } } },
  required: ["name"],
  additionalProperties: false,
};

describe("validate", () => {
  test("says nothing of what matches", () => {
    expect(validate({ name: "x", tags: ["a"] }, SCHEMA)).toEqual([]);
  });

  test("says only what is the cause, and where", () => {
    const paths = (value: unknown) => validate(value, SCHEMA).map(({ path }) => path);
    expect(paths({ name: 1 })).toEqual(["/name"]);
    expect(paths({ name: "x", tags: ["a", "c"] })).toEqual(["/tags/1"]);
    expect(paths({})).toEqual([""]);
    expect(paths("x")).toEqual([""]);
    expect(validate({ name: "x", age: 1 }, SCHEMA)).toEqual([
      { path: "/age", message: "The schema does not allow this." },
    ]);
  });
});
