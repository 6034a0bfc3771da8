/** What charts share: their width, axes with round numbers, and the name of each colour. */

import { type ReactNode, useEffect, useRef, useState } from "react";
import { ticks } from "../parts/series";

export const HEIGHT = 220;
export const MARGIN = { top: 8, end: 8, bottom: 24, start: 52 };
const LABEL_PX = 90;

/** The width that there is for what `ref` is given to. */
export function useWidth() {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (ref.current === null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width] as const;
}

export function color(at: number): string {
  return `var(--series-${at})`;
}

interface FrameProps {
  width: number;
  label: string;
  least?: number;
  most: number;
  /** How far marks of the axis are apart at least: 1 where there are no parts of something. */
  finest?: number;
  format: (value: number) => string;
  /** Where along the axis, from 0 to 1, is what. */
  marks: { at: number; text: string }[];
  /** Draws what is within; `y` has the place of a value. */
  children: (y: (value: number) => number, inner: { width: number; height: number }) => ReactNode;
  onPoint?: (share: number | null) => void;
}

export function Frame({ width, label, least = 0, most, finest = 0, format, marks, children, onPoint }: FrameProps) {
  const steps = ticks(most > least ? most : least + 1, 4, least, finest);
  const [bottom, top] = [steps[0] ?? 0, steps.at(-1) ?? 1];
  const inner = {
    width: Math.max(width - MARGIN.start - MARGIN.end, 1),
    height: HEIGHT - MARGIN.top - MARGIN.bottom,
  };
  const y = (value: number) => inner.height * (1 - (value - bottom) / (top - bottom));
  return (
    <svg
      role="img"
      aria-label={label}
      width={width}
      height={HEIGHT}
      className="block text-xs"
      onPointerMove={(event) => {
        const { left } = event.currentTarget.getBoundingClientRect();
        const share = (event.clientX - left - MARGIN.start) / inner.width;
        onPoint?.(share >= 0 && share <= 1 ? share : null);
      }}
      onPointerLeave={() => onPoint?.(null)}
    >
      <g transform={`translate(${MARGIN.start} ${MARGIN.top})`}>
        {steps.map((step) => (
          <g key={step} transform={`translate(0 ${y(step)})`}>
            <line x2={inner.width} className="stroke-line" />
            <text x={-8} dy="0.32em" textAnchor="end" className="fill-soft tabular-nums">
              {format(step)}
            </text>
          </g>
        ))}
        {marks.map(({ at, text }) => (
          <text
            key={at}
            x={at * inner.width}
            y={inner.height + 17}
            textAnchor={anchor(at * inner.width, inner.width)}
            className="fill-soft"
          >
            {text}
          </text>
        ))}
        {children(y, inner)}
      </g>
    </svg>
  );
}

function anchor(x: number, width: number): "start" | "middle" | "end" {
  if (x < LABEL_PX / 2) return "start";
  return x > width - LABEL_PX / 2 ? "end" : "middle";
}

/** How many words there is room for along the axis. */
export function roomFor(width: number): number {
  return Math.max(Math.floor((width - MARGIN.start - MARGIN.end) / LABEL_PX), 1);
}

/** Of `count` things along the axis those that there is room to name. */
export function named(count: number, width: number): number[] {
  const every = Math.max(Math.ceil(count / roomFor(width)), 1);
  return Array.from({ length: Math.ceil(count / every) }, (_, at) => at * every);
}

export function Legend({ names }: { names: readonly string[] }) {
  return (
    <ul className="flex flex-wrap gap-x-4 gap-y-1 text-xs">
      {names.map((name, at) => (
        <li key={name} className="flex min-w-0 items-center gap-1.5">
          <span className="size-2.5 shrink-0 rounded-sm" style={{ background: color(at) }} />
          <span className="truncate">{name}</span>
        </li>
      ))}
    </ul>
  );
}

/** What is under the pointer. */
export function Tip({ at, width, children }: { at: number; width: number; children: ReactNode }) {
  const x = MARGIN.start + at * (width - MARGIN.start - MARGIN.end);
  const side = x > width / 2 ? { right: width - x + 12 } : { left: x + 12 };
  return (
    <div
      aria-hidden="true"
      style={side}
      className="pointer-events-none absolute top-2 z-10 max-w-56 rounded-lg border border-line bg-raised px-2.5 py-1.5 text-xs shadow-lg"
    >
      {children}
    </div>
  );
}

export function TipRow({ color: look, name, value }: { color: string; name: string; value: string }) {
  return (
    <div className="flex items-center gap-1.5">
      <span className="size-2 shrink-0 rounded-sm" style={{ background: look }} />
      <span className="min-w-0 flex-1 truncate">{name}</span>
      <span className="ps-3 tabular-nums">{value}</span>
    </div>
  );
}
