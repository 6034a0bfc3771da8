/** What a job's events say of how well it learns, as lines. Pure. */

import type { Line } from "../charts/Lines";
import type { FineTuningEvent } from "../data/jobs";

export interface Curves {
  kind: "loss" | "accuracy" | "reward";
  lines: Line[];
}

const KINDS: [Curves["kind"], RegExp][] = [
  ["loss", /loss$/],
  ["accuracy", /accuracy$/],
  ["reward", /reward/],
];

/** Lines by step, of every metric of a known kind; a step that is told twice counts as it was told last. */
export function curvesOf(events: readonly FineTuningEvent[]): Curves[] {
  const metrics = new Map<string, Map<number, number>>();
  for (const { type, data } of events) {
    const step = data.step;
    if (type !== "metrics" || typeof step !== "number") continue;
    for (const [name, value] of Object.entries(data)) {
      if (typeof value !== "number" || !Number.isFinite(value)) continue;
      const steps = metrics.get(name) ?? new Map<number, number>();
      // Events come newest first.
      if (!steps.has(step)) steps.set(step, value);
      metrics.set(name, steps);
    }
  }
  return KINDS.map(([kind, pattern]) => ({
    kind,
    lines: [...metrics].filter(([name]) => pattern.test(name)).map(([name, steps]) => lineOf(name, steps)),
  })).filter(({ lines }) => lines.length > 0);
}

function lineOf(name: string, steps: Map<number, number>): Line {
  const points = [...steps].map(([x, y]) => ({ x, y })).sort((one, other) => one.x - other.x);
  return { name: name.replaceAll("_", " "), points };
}
