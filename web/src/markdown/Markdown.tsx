/** What a model writes, with its formatting. */

import { lazy, memo, Suspense, useMemo } from "react";
import { strings } from "../strings";
import { Boundary } from "../ui/Boundary";
import { Block } from "./Block";
import { isCostly, splitBlocks } from "./blocks";
import { hasMath } from "./math";

/** In characters: all of a longer text is one block, which is shown as it is. */
const MAX_TEXT = 400_000;

const MathBlock = lazy(() => import("./MathBlock"));

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => (text.length > MAX_TEXT ? [text] : splitBlocks(text)), [text]);
  return (
    <div className="prose" dir="auto">
      {blocks.map((block, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: blocks are only ever added at the end.
        <AnyBlock key={index} text={block} />
      ))}
    </div>
  );
});

export const AnyBlock = memo(function AnyBlock({ text }: { text: string }) {
  const plain = <p className="whitespace-pre-wrap">{text}</p>;
  if (isCostly(text) || text.length > MAX_TEXT) {
    return (
      <>
        <p className="text-soft text-sm">{strings.turn.plain}</p>
        <pre className="max-h-96 whitespace-pre-wrap">{text}</pre>
      </>
    );
  }
  return (
    <Boundary fallback={plain}>
      {hasMath(text) ? (
        <Suspense fallback={plain}>
          <MathBlock text={text} />
        </Suspense>
      ) : (
        <Block text={text} />
      )}
    </Boundary>
  );
});
