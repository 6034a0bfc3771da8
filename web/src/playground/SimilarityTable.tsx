import { useMemo } from "react";
import { strings } from "./strings";
import { heat, similarities } from "./vectors";

const MAX_TEXTS = 40;
/** Of the colour: more, and the number on it would be hard to read. */
const MAX_PERCENT = 38;

export function SimilarityTable({ texts, vectors }: { texts: string[]; vectors: number[][] }) {
  const rows = useMemo(() => similarities(vectors.slice(0, MAX_TEXTS)), [vectors]);
  return (
    <>
      {texts.length > MAX_TEXTS && <p className="text-soft text-xs">{strings.embeddings.tooMany(MAX_TEXTS)}</p>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach. */}
      <div className="overflow-x-auto rounded-xl border border-line bg-raised" tabIndex={0}>
        <table className="text-sm tabular-nums">
          <caption className="px-3 pt-2 text-start text-soft text-xs">{strings.embeddings.caption}</caption>
          <thead>
            <tr>
              <td />
              {rows.map((_, column) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: the place is what a column is.
                <th key={column} scope="col" title={texts[column]} className="px-3 py-1.5 font-medium">
                  {column + 1}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the place is what a row is.
              <tr key={at}>
                <th scope="row" title={texts[at]} className="px-3 py-1.5 text-start font-normal">
                  <span className="block w-28 truncate sm:w-56" dir="auto">
                    {at + 1} {texts[at]}
                  </span>
                </th>
                {row.map((value, column) => (
                  <td
                    // biome-ignore lint/suspicious/noArrayIndexKey: the place is what a cell is.
                    key={column}
                    className="min-w-16 border border-line px-3 py-1.5 text-center"
                    style={{ background: colour(value) }}
                  >
                    {strings.embeddings.similarity(value)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function colour(value: number): string {
  return `color-mix(in oklab, var(--color-accent) ${Math.round(heat(value) * MAX_PERCENT)}%, transparent)`;
}
