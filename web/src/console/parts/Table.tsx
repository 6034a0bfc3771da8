/** Tables that scroll within themselves where the page is narrow. */

import type { Key, ReactNode } from "react";

/** `relative`: what is only read must not be put outside of it, where the page would scroll to it. */
const FRAME = "relative overflow-x-auto rounded-xl border border-line bg-raised";

export interface Column<Row> {
  title: string;
  cell: (row: Row) => ReactNode;
  isNumber?: boolean;
  /** Its title is read, and not shown. */
  isQuiet?: boolean;
}

interface Props<Row> {
  /** What the table is of. */
  label: string;
  columns: Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => Key;
}

export function Table<Row>({ label, columns, rows, keyOf }: Props<Row>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard.
    <section aria-label={label} tabIndex={0} className={FRAME}>
      <table className="w-full border-collapse text-sm">
        <thead>
          <tr className="border-line border-b text-soft">
            {columns.map(({ title, isNumber, isQuiet }) => (
              <th key={title} scope="col" className={`px-3 py-2 font-medium ${isNumber ? "text-end" : "text-start"}`}>
                <span className={isQuiet ? "sr-only" : "whitespace-nowrap"}>{title}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} className="border-line border-b last:border-0 hover:bg-hover/50">
              {columns.map(({ title, cell, isNumber }) => (
                <td key={title} className={`px-3 py-2 ${isNumber ? "text-end tabular-nums" : "text-start"}`}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Properties of one thing. */
export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="grid grid-cols-[minmax(7rem,auto)_minmax(0,1fr)] gap-x-6 gap-y-2 text-sm">
      {facts.map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-soft">{name}</dt>
          <dd className="min-w-0 break-words">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
