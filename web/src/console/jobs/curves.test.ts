import { expect, test } from "vitest";
import type { FineTuningEvent } from "../data/jobs";
import { curvesOf } from "./curves";

function told(
  step: number | null,
  values: Record<string, unknown>,
  type: FineTuningEvent["type"] = "metrics",
): FineTuningEvent {
  const data = step === null ? values : { step, ...values };
  return { object: "fine_tuning.job.event", id: `e-${step}`, created_at: 0, level: "info", message: "", type, data };
}

test("lines by kind and step, whatever order events come in", () => {
  const events = [
    told(2, { train_loss: 1, train_mean_token_accuracy: 0.5, total_steps: 9 }),
    told(1, { train_loss: 3, valid_loss: 4 }),
  ];
  expect(curvesOf(events)).toEqual([
    {
      kind: "loss",
      lines: [
        {
          name: "train loss",
          points: [
            { x: 1, y: 3 },
            { x: 2, y: 1 },
          ],
        },
        { name: "valid loss", points: [{ x: 1, y: 4 }] },
      ],
    },
    { kind: "accuracy", lines: [{ name: "train mean token accuracy", points: [{ x: 2, y: 0.5 }] }] },
  ]);
});

test("a step that was done twice is as it was the last time", () => {
  expect(curvesOf([told(1, { train_loss: 2 }), told(1, { train_loss: 9 })])[0]?.lines[0]?.points).toEqual([
    { x: 1, y: 2 },
  ]);
});

test("words, messages and what is no number are no points", () => {
  const events = [
    told(1, { train_loss: Number.NaN, valid_loss: "low" }),
    told(2, { train_loss: 1 }, "message"),
    told(null, { train_loss: 1 }),
  ];
  expect(curvesOf(events)).toEqual([]);
});
