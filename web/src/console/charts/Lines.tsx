/** Lines over steps: losses, accuracies. */

import { useState } from "react";
import { format } from "../parts/format";
import { ticks } from "../parts/series";
import { words } from "../strings";
import { color, Frame, Legend, roomFor, Tip, TipRow, useWidth } from "./frame";

export interface Line {
  name: string;
  /** By x. */
  points: { x: number; y: number }[];
}

export function Lines({ title, lines, mostX }: { title: string; lines: Line[]; mostX: number }) {
  const [ref, width] = useWidth();
  const [share, setShare] = useState<number | null>(null);
  // Where nothing is known yet, the nearest that is.
  const points = lines.flatMap((line) => line.points);
  const step = share === null ? null : (nearest(points, share * mostX)?.x ?? null);
  const values = points.map(({ y }) => y);
  const near = step === null ? [] : lines.map(({ points }) => nearest(points, step));
  const last = lines.map(({ name, points }) => `${name} ${format.decimal(points.at(-1)?.y ?? 0)}`).join(", ");
  return (
    <figure className="flex flex-col gap-3">
      <div ref={ref} className="relative h-[220px]">
        {width > 0 && (
          <Frame
            width={width}
            label={`${title}: ${last}`}
            least={Math.min(...values, 0)}
            most={Math.max(...values)}
            format={format.decimal}
            marks={marksOf(mostX, width)}
            onPoint={setShare}
          >
            {(y, inner) => {
              const x = (value: number) => (value / Math.max(mostX, 1)) * inner.width;
              return (
                <>
                  {step !== null && <line x1={x(step)} x2={x(step)} y2={inner.height} className="stroke-line-strong" />}
                  {lines.map(({ name, points }, at) => (
                    <g key={name} style={{ color: color(at) }}>
                      <polyline
                        points={points.map((point) => `${x(point.x)},${y(point.y)}`).join(" ")}
                        fill="none"
                        stroke="currentColor"
                        strokeWidth={1.75}
                        strokeLinejoin="round"
                      />
                      {points.length < 40 &&
                        points.map((point) => (
                          <circle key={point.x} cx={x(point.x)} cy={y(point.y)} r={2.5} fill="currentColor" />
                        ))}
                    </g>
                  ))}
                </>
              );
            }}
          </Frame>
        )}
        {step !== null && (
          <Tip at={step / Math.max(mostX, 1)} width={width}>
            <p className="font-medium">
              {words.chart.step} {format.whole(step)}
            </p>
            {lines.map(({ name }, at) => (
              <TipRow key={name} color={color(at)} name={name} value={format.decimal(near[at]?.y ?? 0)} />
            ))}
          </Tip>
        )}
      </div>
      <figcaption>
        <Legend names={lines.map(({ name }) => name)} />
      </figcaption>
    </figure>
  );
}

function marksOf(mostX: number, width: number) {
  const steps = ticks(mostX, roomFor(width), 0, 1).filter((step) => step <= mostX);
  return steps.map((step) => ({ at: step / Math.max(mostX, 1), text: format.whole(step) }));
}

function nearest(points: Line["points"], x: number): Line["points"][number] | undefined {
  let best = points[0];
  for (const point of points) if (best === undefined || Math.abs(point.x - x) < Math.abs(best.x - x)) best = point;
  return best;
}
