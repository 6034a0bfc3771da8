/** Reads what Prometheus reads. Pure. */

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED: Record<string, string> = { n: "\n" };

/** The samples of the text format, version 0.0.4. */
export function samplesOf(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const [, name, labels = "", value = ""] = LINE.exec(line) ?? [];
    return name === undefined ? [] : [{ name, labels: labelsOf(labels), value: numberOf(value) }];
  });
}

function labelsOf(text: string): Record<string, string> {
  const pairs = [...text.matchAll(LABEL)].map(([, name = "", value = ""]) => {
    return [name, value.replaceAll(/\\(.)/g, (_, char: string) => ESCAPED[char] ?? char)];
  });
  return Object.fromEntries(pairs);
}

function numberOf(text: string): number {
  return text === "+Inf" ? Number.POSITIVE_INFINITY : text === "-Inf" ? Number.NEGATIVE_INFINITY : Number(text);
}

export interface Histogram {
  count: number;
  /** Upper bounds, rising, and how many are at most as large. */
  buckets: { most: number; count: number }[];
}

/** A histogram for each value of a label. */
export function histogramsOf(samples: readonly Sample[], name: string, label: string): Map<string, Histogram> {
  const found = new Map<string, Histogram>();
  for (const sample of samples) {
    if (sample.name !== `${name}_bucket`) continue;
    const key = sample.labels[label] ?? "";
    const histogram = found.get(key) ?? { count: 0, buckets: [] };
    const most = numberOf(sample.labels.le ?? "");
    const same = histogram.buckets.find((each) => each.most === most);
    if (same) same.count += sample.value;
    else histogram.buckets.push({ most, count: sample.value });
    found.set(key, histogram);
  }
  for (const histogram of found.values()) {
    histogram.buckets.sort((one, other) => one.most - other.most);
    histogram.count = histogram.buckets.at(-1)?.count ?? 0;
  }
  return found;
}

/** Below which value a share of all is, as well as buckets tell: evenly spread within each. Null if there are none. */
export function quantile({ count, buckets }: Histogram, share: number): number | null {
  if (count === 0) return null;
  const rank = share * count;
  let [least, before] = [0, 0];
  for (const { most, count: upTo } of buckets) {
    if (upTo >= rank && upTo > before) {
      return Number.isFinite(most) ? least + ((most - least) * (rank - before)) / (upTo - before) : least;
    }
    [least, before] = [most, upTo];
  }
  return least;
}

/** One number for each value of a label; the same label's are added up. */
export function sumsOf(samples: readonly Sample[], name: string, label: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const sample of samples) {
    const key = sample.labels[label] ?? "";
    if (sample.name === name) found.set(key, (found.get(key) ?? 0) + sample.value);
  }
  return found;
}
