import { describe, expect, test } from "vitest";
import { parseJson } from "./json";

function place(text: string): string {
  const { problem } = parseJson(text);
  return problem === null ? "ok" : `${problem.line}:${problem.column} ${problem.message}`;
}

describe("parseJson", () => {
  test("takes what is JSON", () => {
    expect(parseJson(' {"a": [1, -2.5e3, "x\\u00e9", true, null, {}]} ').value).toEqual({
      a: [1, -2500, "xé", true, null, {}],
    });
  });

  test.each([
    ["", "1:1 the text ends too early: a value is expected"],
    ['{"a": 1,}', "1:9 a name in double quotes is expected"],
    ["[1, 2,]", "1:7 a value is expected"],
    ["{\n  a: 1\n}", "2:3 a name in double quotes or a } is expected"],
    ['{"a" 1}', "1:6 a colon is expected"],
    ['{"a": 1 "b": 2}', "1:9 a comma or the end is expected"],
    ['{"a": [1}', "1:9 a ] is expected"],
    ['{"a": 1', "1:8 the text ends too early: a comma or the end is expected"],
    ['["é😀", x]', "1:8 a value is expected"],
    ['"a\nb"', "1:3 a string must not have this character in it: write it as an escape"],
    ['"a', "1:3 the text ends within a string"],
    ['"\\x"', "1:2 there is no such escape"],
    ["[01]", "1:3 a comma or the end is expected"],
    ["[+1]", "1:2 a value or a ] is expected"],
    ["[NaN]", "1:2 a value or a ] is expected"],
    ["{} {}", "1:4 the JSON has ended here"],
    ["[]\r\n\r\n]", "3:1 the JSON has ended here"],
  ])("%j: %s", (text, said) => {
    expect(place(text)).toBe(said);
  });

  test("a text that is nested very deeply is read without recursion", () => {
    expect(place("[".repeat(200_000))).toBe("1:200001 the text ends too early: a value or a ] is expected");
  });

  test("whatever JSON.parse refuses has a place", () => {
    const whole = '{"a":[1,{"b":"c\\n"}],"d":null}';
    for (let end = 0; end < whole.length; end++) {
      expect(parseJson(whole.slice(0, end)).problem?.offset).toBeLessThanOrEqual(end);
    }
  });
});
