/** A block with formulas. Loaded when the first one comes. */

import "katex/dist/katex.min.css";
import type { Options } from "react-markdown";
import rehypeKatex from "rehype-katex";
import remarkMath from "remark-math";
import { Block } from "./Block";
import { normalizeMath } from "./math";

type Plugins = NonNullable<Options["remarkPlugins"]>;

// A single dollar is a formula only where normalizeMath has seen to it.
const REMARK: Plugins = [[remarkMath, { singleDollarTextMath: false }]];
// No formula may make links, or sizes that cover the page.
const REHYPE: Plugins = [[rehypeKatex, { trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 }]];

export default function MathBlock({ text }: { text: string }) {
  return <Block text={normalizeMath(text)} remarkPlugins={REMARK} rehypePlugins={REHYPE} />;
}
