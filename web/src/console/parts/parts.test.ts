import { describe, expect, test } from "vitest";
import { csvOf } from "./csv";
import { format } from "./format";
import { chartOf, ticks } from "./series";

interface Result {
  model: string;
  tokens: number;
}

function bucket(start: number, ...results: [string, number][]) {
  return {
    start_time: start,
    end_time: start + 60,
    results: results.map(([model, tokens]): Result => ({ model, tokens })),
  };
}

function chart(buckets: ReturnType<typeof bucket>[], most?: number) {
  return chartOf(
    buckets,
    ({ model }) => model,
    ({ tokens }) => tokens,
    "rest",
    most,
  );
}

describe("series", () => {
  test("the largest first, each with a value for each time", () => {
    const { times, series } = chart([bucket(0, ["a", 1]), bucket(60), bucket(120, ["b", 5], ["a", 2])]);
    expect(times).toEqual([0, 60, 120]);
    expect(series).toEqual([
      { name: "b", values: [0, 0, 5], total: 5 },
      { name: "a", values: [1, 0, 2], total: 3 },
    ]);
  });

  test("results of one name in one bucket are added up", () => {
    expect(chart([bucket(0, ["a", 1], ["a", 2])]).series).toEqual([{ name: "a", values: [3], total: 3 }]);
  });

  test("what is beyond the colours is one series, and nothing gets lost", () => {
    const { series } = chart([bucket(0, ["a", 4], ["b", 3], ["c", 2]), bucket(60, ["d", 1])], 2);
    expect(series).toEqual([
      { name: "a", values: [4, 0], total: 4 },
      { name: "rest", values: [5, 1], total: 6 },
    ]);
  });

  test("as many as there are colours stay what they are", () => {
    expect(chart([bucket(0, ["a", 2], ["b", 1])], 2).series.map(({ name }) => name)).toEqual(["a", "b"]);
  });

  test("what is nothing all the time is not drawn", () => {
    expect(chart([bucket(0, ["a", 0])]).series).toEqual([]);
  });
});

describe("ticks", () => {
  test.each([
    [7, [0, 2, 4, 6, 8]],
    [4, [0, 1, 2, 3, 4]],
    [0.3, [0, 0.1, 0.2, 0.3]],
    [1234, [0, 500, 1000, 1500]],
    [0, [0]],
  ])("up to %d", (most, expected) => {
    expect(ticks(most)).toEqual(expected);
  });

  test("whole ones", () => {
    expect(ticks(2, 4, 0, 1)).toEqual([0, 1, 2]);
  });

  test("from a value that is not nothing", () => {
    expect(ticks(3.9, 4, 3.1)).toEqual([3, 3.2, 3.4, 3.6, 3.8, 4]);
  });
});

describe("CSV", () => {
  test("quotes what needs it", () => {
    expect(csvOf(["a", "b"], [['say "x"', "1,2"]])).toBe('a,b\r\n"say ""x""","1,2"\r\n');
  });

  test("a name is no formula, and a number stays one", () => {
    expect(csvOf(["name", "n"], [["=1+1", -5]])).toBe("name,n\r\n'=1+1,-5\r\n");
  });
});

test("sizes of files", () => {
  expect([0, 88, 1234, 2_500_000, 7e12].map(format.bytes)).toEqual([
    "0 kB",
    "0.088 kB",
    "1.23 kB",
    "2.5 MB",
    "7,000 GB",
  ]);
});
