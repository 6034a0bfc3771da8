import { expect, test } from "vitest";
import { has } from "./search";

const ENTRY = {
  seq: 1,
  time: 0,
  actor: "key_1",
  action: "policy.create",
  subject: "default/Strict",
  detail: { mode: "Blocking" },
  hash: "ab",
};

test.each([
  ["", true],
  ["  ", true],
  ["strict", true],
  ["POLICY block", true],
  ["robot", true],
  ["key_1 policy robot", true],
  ["policy delete", false],
])("%o", (search, expected) => {
  expect(has(ENTRY, "Robot", search)).toBe(expected);
});
