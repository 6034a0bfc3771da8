/** Turns buckets of time into series that a chart can draw. Pure. */

export interface Bucket<Result> {
  start_time: number;
  end_time: number;
  results: Result[];
}

export interface Series {
  name: string;
  /** One for each time. */
  values: number[];
  total: number;
}

export interface Chart {
  /** When the buckets begin, in Unix seconds. */
  times: number[];
  series: Series[];
}

/** Colours that can be told apart; what is beyond them is drawn as one. */
export const MAX_SERIES = 6;

/**
 * One series for each name, the largest first; those beyond `most` together as `rest`.
 *
 * @param nameOf whose the result is.
 * @param amountOf what is added up.
 */
export function chartOf<Result>(
  buckets: readonly Bucket<Result>[],
  nameOf: (result: Result) => string,
  amountOf: (result: Result) => number,
  rest: string,
  most = MAX_SERIES,
): Chart {
  const found = new Map<string, Series>();
  buckets.forEach(({ results }, at) => {
    for (const result of results) {
      const series = seriesNamed(found, nameOf(result), buckets.length);
      const value = amountOf(result);
      series.values[at] = (series.values[at] ?? 0) + value;
      series.total += value;
    }
  });
  const all = [...found.values()].filter(({ total }) => total > 0).sort((one, other) => other.total - one.total);
  const times = buckets.map(({ start_time }) => start_time);
  return { times, series: all.length <= most ? all : [...all.slice(0, most - 1), together(all.slice(most - 1), rest)] };
}

function seriesNamed(found: Map<string, Series>, name: string, length: number): Series {
  const before = found.get(name);
  if (before) return before;
  const series = { name, values: Array.from<number>({ length }).fill(0), total: 0 };
  found.set(name, series);
  return series;
}

function together(series: Series[], name: string): Series {
  const values = series[0]?.values.map((_, at) => series.reduce((sum, each) => sum + (each.values[at] ?? 0), 0)) ?? [];
  return { name, values, total: series.reduce((sum, each) => sum + each.total, 0) };
}

/** Round values for an axis from 0, or from `least`, to at least `most`: about `count` of them, `finest` apart or more. */
export function ticks(most: number, count = 4, least = 0, finest = 0): number[] {
  const span = most - least;
  if (!(span > 0)) return [least];
  const rough = Math.max(span / count, finest);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10) * power;
  const first = Math.floor(least / step);
  const last = Math.ceil(most / step - 1e-9);
  // Multiplied and not added up, so that 3 * 0.1 stays the last of its errors.
  return Array.from({ length: last - first + 1 }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}
