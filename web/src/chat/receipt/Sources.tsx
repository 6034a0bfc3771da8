/** The passages that an answer may rest on. */

import type { Source } from "./api";
import { strings } from "./strings";

const say = strings.sources;

export function Sources({ sources }: { sources: Source[] }) {
  return (
    <ol className="flex flex-col gap-2 text-sm">
      {sources.map((source) => (
        <li key={source.number} className="rounded-xl border border-line px-3.5 py-2">
          <p dir="auto" className="break-words font-medium">
            [{source.number}] {source.filename ?? source.url}
          </p>
          <p className="text-soft">{placeOf(source)}</p>
          {source.file_id && (
            <p className="break-all font-mono text-soft text-xs">
              {source.file_sha256 ? say.hash(source.file_sha256) : say.hashUnknown}
            </p>
          )}
        </li>
      ))}
    </ol>
  );
}

function placeOf({ start, end, page }: Source): string {
  const place = start === undefined || end === undefined ? "" : say.place(start, end);
  return [place, page === undefined ? "" : say.page(page)].filter(Boolean).join(", ");
}
