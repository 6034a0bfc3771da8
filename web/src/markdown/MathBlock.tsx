/** A block with formulas. Loaded when the first one comes. */

import katex from "katex";
import "katex/dist/katex.min.css";
import { memo, useLayoutEffect, useRef } from "react";
import type { Components, Options } from "react-markdown";
import remarkMath from "remark-math";
import { Block, codeOf, Fenced } from "./Block";
import { normalizeMath } from "./math";

// A single dollar is a formula only where normalizeMath has seen to it.
const plugins: NonNullable<Options["remarkPlugins"]> = [[remarkMath, { singleDollarTextMath: false }]];

const components: Components = {
  code: ({ className, children }) =>
    className?.includes("math-inline") ? <Formula tex={String(children)} isDisplay={false} /> : <code>{children}</code>,
  pre: ({ node }) => {
    const code = codeOf(node);
    return code.language === "math" ? <Formula tex={code.text} isDisplay /> : <Fenced node={node} />;
  },
};

export default function MathBlock({ text }: { text: string }) {
  return <Block text={normalizeMath(text)} remarkPlugins={plugins} otherComponents={components} />;
}

/**
 * KaTeX makes the elements itself: its markup as text has style attributes, which the content-security policy forbids.
 * No formula may make links, sizes that cover the page, or macros that never end.
 */
const Formula = memo(function Formula({ tex, isDisplay }: { tex: string; isDisplay: boolean }) {
  const place = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    if (!place.current) return;
    const limits = { trust: false, maxSize: 20, maxExpand: 200 };
    katex.render(tex, place.current, { displayMode: isDisplay, throwOnError: false, strict: "ignore", ...limits });
  }, [tex, isDisplay]);
  return <span ref={place} className={isDisplay ? "block" : ""} />;
});
