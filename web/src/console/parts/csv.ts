/** Tables as files that spreadsheets open. */

import { download } from "../../ui/download";

type Cell = string | number;

/** RFC 4180. What a spreadsheet would take for a formula is given to it as text: names may be anybody's. */
export function csvOf(titles: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [titles, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function cell(value: Cell): string {
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function downloadCsv(name: string, titles: readonly string[], rows: readonly (readonly Cell[])[]): void {
  download(name, new Blob([csvOf(titles, rows)], { type: "text/csv" }));
}
