import { describe, expect, test } from "vitest";
import { histogramsOf, quantile, samplesOf, sumsOf } from "./metrics";

describe("the text format", () => {
  test("names, labels and values; comments are none", () => {
    const text = '# HELP a b\nplain 1.5\na_total{x="1",y="q\\"}\\\\\\n,"} 2e3\nlast{le="+Inf"} +Inf\n';
    expect(samplesOf(text)).toEqual([
      { name: "plain", labels: {}, value: 1.5 },
      { name: "a_total", labels: { x: "1", y: 'q"}\\\n,' }, value: 2000 },
      { name: "last", labels: { le: "+Inf" }, value: Number.POSITIVE_INFINITY },
    ]);
  });

  test("sums by a label", () => {
    const samples = samplesOf('n{m="a",s="1"} 1\nn{m="a",s="2"} 2\nn{m="b"} 4\nother{m="a"} 9');
    expect([...sumsOf(samples, "n", "m")]).toEqual([
      ["a", 3],
      ["b", 4],
    ]);
  });
});

describe("quantiles", () => {
  const text = ["1", "2", "4", "+Inf"]
    .map((le, at) => `t_bucket{model="m",le="${le}"} ${[0, 5, 9, 10][at]}`)
    .join("\n");
  const histogram = histogramsOf(samplesOf(text), "t", "model").get("m");

  test.each([
    [0.25, 1.5],
    [0.5, 2],
    [0.7, 3],
    [0.9, 4],
    // Above the largest bound nothing is known but that.
    [0.99, 4],
  ])("of %d", (share, expected) => {
    expect(histogram && quantile(histogram, share)).toBeCloseTo(expected);
  });

  test("of nothing there is none", () => {
    expect(quantile({ count: 0, buckets: [] }, 0.5)).toBeNull();
  });
});
