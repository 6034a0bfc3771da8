/** A block with formulas. Loaded when the first one comes. */

import "katex/dist/katex.min.css";
import rehypeKatex from "rehype-katex";
import remarkMath from "remark-math";
import { Block } from "./Block";
import { normalizeMath } from "./math";

// A single dollar is a formula only where normalizeMath has seen to it.
const REMARK = [[remarkMath, { singleDollarTextMath: false }]] as const;
// No formula may make links, or sizes that cover the page.
const REHYPE = [[rehypeKatex, { trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 }]] as const;

export default function MathBlock({ text }: { text: string }) {
  return <Block text={normalizeMath(text)} remarkPlugins={[...REMARK]} rehypePlugins={[...REHYPE]} />;
}
