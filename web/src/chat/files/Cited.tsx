/** An answer that cites files: marks in its text, and what they point at below. */

import * as Popover from "@radix-ui/react-popover";
import { createContext, memo, use, useMemo } from "react";
import type { Components, Options } from "react-markdown";
import type { Annotation, Passage } from "../../api/types";
import { Block } from "../../markdown/Block";
import { isCostly, splitBlocks } from "../../markdown/blocks";
import { AnyBlock } from "../../markdown/Markdown";
import { hasMath } from "../../markdown/math";
import { citationsOf, type Mark, type Source } from "./cite";
import { type Place, placeMarks } from "./place";
import { strings } from "./strings";

interface Props {
  text: string;
  annotations: Annotation[];
  passages: Passage[];
}

const Marks = createContext<readonly Mark[]>([]);

export default function Cited({ text, annotations, passages }: Props) {
  const { marks, sources } = useMemo(() => citationsOf(text, annotations, passages), [text, annotations, passages]);
  return (
    <Marks value={marks}>
      <div className="prose" dir="auto">
        {blocksOf(text, marks).map(({ block, places }, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: blocks are only ever added at the end.
          <CitedBlock key={index} text={block} places={JSON.stringify(places)} />
        ))}
      </div>
      {sources.length > 0 && <Sources sources={sources} />}
    </Marks>
  );
}

/** The blocks of a text with the marks of each. The last takes what stands behind all of them. */
function blocksOf(text: string, marks: readonly Mark[]): { block: string; places: Place[] }[] {
  const blocks = splitBlocks(text);
  let end = 0;
  let next = 0;
  return blocks.map((block, index) => {
    const start = Math.max(text.indexOf(block, end), end);
    end = start + block.length;
    const places: Place[] = [];
    for (; next < marks.length; next++) {
      const { offset = 0 } = marks[next] ?? {};
      if (offset > end && index < blocks.length - 1) break;
      places.push({ offset: offset - start, name: String(next) });
    }
    return { block, places };
  });
}

const components: Components = {
  mark: ({ node }) => <MarkButton name={String(node?.properties["data-mark"])} />,
};

/** `places` is a text, so that blocks that are finished are not rendered again. */
const CitedBlock = memo(function CitedBlock({ text, places }: { text: string; places: string }) {
  const marked = useMemo(() => JSON.parse(places) as Place[], [places]);
  const plugins = useMemo((): Options["rehypePlugins"] => [[placeMarks, marked]], [marked]);
  if (marked.length === 0) return <AnyBlock text={text} />;
  if (!isCostly(text) && !hasMath(text)) {
    return <Block text={text} rehypePlugins={plugins ?? []} otherComponents={components} />;
  }
  // Their offsets are not those of what was written.
  return (
    <>
      <AnyBlock text={text} />
      <p>
        {marked.map(({ name }) => (
          <MarkButton key={name} name={name} />
        ))}
      </p>
    </>
  );
});

function MarkButton({ name }: { name: string }) {
  const mark = use(Marks)[Number(name)];
  if (mark === undefined) return null;
  const { source, isDoubtful } = mark;
  const label = strings.source(source.number, source.filename);
  return (
    <Popover.Root>
      <Popover.Trigger
        aria-label={isDoubtful ? `${label}. ${strings.doubtful}` : label}
        className={`mx-0.5 inline-flex min-h-6 min-w-6 items-center justify-center rounded-md px-1 align-baseline font-medium text-xs ${
          isDoubtful ? "bg-danger-soft text-danger" : "bg-accent-soft text-accent"
        }`}
      >
        {isDoubtful ? `${source.number}?` : source.number}
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          aria-label={label}
          sideOffset={6}
          collisionPadding={8}
          className="z-20 flex w-96 max-w-[calc(100vw-1rem)] flex-col gap-2 rounded-xl border border-line bg-raised p-3 text-sm shadow-lg"
        >
          <p className="break-words font-medium" dir="auto">
            {source.filename}
          </p>
          {isDoubtful && <p className="text-danger">{strings.doubtful}</p>}
          <Quoted source={source} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

function Quoted({ source: { passage, filename } }: { source: Source }) {
  if (passage === "") return <p className="text-soft">{strings.noPassage}</p>;
  return (
    <section
      aria-label={filename}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach.
      tabIndex={0}
      className="max-h-60 overflow-y-auto whitespace-pre-wrap break-words text-soft"
      dir="auto"
    >
      {passage}
    </section>
  );
}

function Sources({ sources }: { sources: Source[] }) {
  return (
    <section aria-label={strings.sources} className="mt-3 rounded-xl border border-line px-4 py-2 text-sm">
      <p className="py-1 font-medium">{strings.sources}</p>
      <ol>
        {sources.map((source) => (
          <li key={source.number}>
            <details>
              <summary className="cursor-pointer py-1" dir="auto">
                <span className="text-soft tabular-nums">{source.number}. </span>
                <span className="break-words">{source.filename}</span>
              </summary>
              <div className="py-1 ps-4">
                <Quoted source={source} />
              </div>
            </details>
          </li>
        ))}
      </ol>
    </section>
  );
}
