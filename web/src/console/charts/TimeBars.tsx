/** Bars over time, series upon series, and the same as a table. */

import { useState } from "react";
import { format } from "../parts/format";
import type { Chart } from "../parts/series";
import { type Column, Table } from "../parts/Table";
import { words } from "../strings";
import { color, Frame, Legend, named, Tip, TipRow, useWidth } from "./frame";

interface Props {
  title: string;
  chart: Chart;
  isDaily: boolean;
  /** There are no parts of what is counted. */
  isWhole?: boolean;
  /** For the axis, and for one value. */
  brief?: (value: number) => string;
  full?: (value: number) => string;
}

export function TimeBars({
  title,
  chart,
  isDaily,
  isWhole = false,
  brief = format.compact,
  full = format.whole,
}: Props) {
  const [ref, width] = useWidth();
  const [share, setShare] = useState<number | null>(null);
  const { times, series } = chart;
  const totals = times.map((_, at) => series.reduce((sum, each) => sum + (each.values[at] ?? 0), 0));
  const time = isDaily ? format.day : format.hourOfDay;
  const axis = isDaily || (times.at(-1) ?? 0) - (times[0] ?? 0) > 172_800 ? format.day : format.hour;
  const chosen = share === null ? null : Math.min(Math.floor(share * times.length), times.length - 1);
  const summary = words.chart.summary(
    title,
    series.map(({ name, total }) => `${name} ${full(total)}`).join(", ") || words.chart.none,
    time(times[0] ?? 0),
    time(times.at(-1) ?? 0),
  );
  return (
    <figure className="flex flex-col gap-3">
      <div ref={ref} className="relative h-[220px]">
        {width > 0 && (
          <Frame
            width={width}
            label={summary}
            most={Math.max(...totals, 0)}
            finest={isWhole ? 1 : 0}
            format={brief}
            marks={marksOf(times, width, axis)}
            onPoint={setShare}
          >
            {(y, inner) => <Bars chart={chart} chosen={chosen} y={y} slot={inner.width / times.length} inner={inner} />}
          </Frame>
        )}
        {series.length === 0 && (
          <p className="pointer-events-none absolute inset-0 grid place-content-center text-soft text-sm">
            {words.chart.none}
          </p>
        )}
        {chosen !== null && series.length > 0 && (
          <Tip at={(chosen + 0.5) / times.length} width={width}>
            <p className="font-medium">{time(times[chosen] ?? 0)}</p>
            {series.map((each, at) => (
              <TipRow key={each.name} color={color(at)} name={each.name} value={full(each.values[chosen] ?? 0)} />
            ))}
          </Tip>
        )}
      </div>
      <figcaption className="flex flex-col gap-2">
        <Legend names={series.map(({ name }) => name)} />
        {series.length > 0 && <AsTable title={title} chart={chart} time={time} full={full} />}
      </figcaption>
    </figure>
  );
}

/** The same words are not written twice: of a day's hours, the first has its name. */
function marksOf(times: number[], width: number, axis: (unixS: number) => string) {
  const marks = named(times.length, width).map((at) => ({ at: (at + 0.5) / times.length, text: axis(times[at] ?? 0) }));
  return marks.filter(({ text }, at) => text !== marks[at - 1]?.text);
}

interface BarsProps {
  chart: Chart;
  chosen: number | null;
  y: (value: number) => number;
  slot: number;
  inner: { height: number };
}

function Bars({ chart: { times, series }, chosen, y, slot, inner }: BarsProps) {
  const gap = slot > 6 ? Math.min(slot * 0.2, 6) : slot > 3 ? 1 : 0;
  return times.map((time, at) => {
    let below = 0;
    return (
      <g key={time} transform={`translate(${at * slot} 0)`}>
        {chosen === at && <rect width={slot} height={inner.height} className="fill-hover" />}
        {series.map(({ name, values }, which) => {
          const value = values[at] ?? 0;
          const top = y(below + value);
          const height = y(below) - top;
          below += value;
          return (
            value > 0 && (
              <rect
                key={name}
                x={gap / 2}
                y={top}
                width={Math.max(slot - gap, 1)}
                height={Math.max(height, 1)}
                style={{ fill: color(which) }}
              />
            )
          );
        })}
      </g>
    );
  });
}

interface TableProps {
  title: string;
  chart: Chart;
  time: (unixS: number) => string;
  full: (value: number) => string;
}

/** Times in which there was nothing are left out. */
function AsTable({ title, chart: { times, series }, time, full }: TableProps) {
  const [isOpen, setIsOpen] = useState(false);
  const columns: Column<number>[] = [
    { title: words.chart.time, cell: (at) => <span className="whitespace-nowrap">{time(times[at] ?? 0)}</span> },
    ...series.map(({ name, values }) => ({ title: name, cell: (at: number) => full(values[at] ?? 0), isNumber: true })),
  ];
  const rows = times.map((_, at) => at).filter((at) => series.some(({ values }) => (values[at] ?? 0) > 0));
  return (
    <details onToggle={(event) => setIsOpen(event.currentTarget.open)}>
      <summary className="w-fit cursor-pointer rounded text-accent text-sm">{words.showTable}</summary>
      {isOpen && (
        <div className="mt-2">
          <Table label={title} columns={columns} rows={rows} keyOf={(at) => times[at] ?? at} />
        </div>
      )}
    </details>
  );
}
