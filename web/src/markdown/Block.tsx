/** One block of Markdown as elements. Whatever the model wrote, it becomes text, links, tables and code: nothing that acts. */

import { type ComponentProps, createContext, use } from "react";
import ReactMarkdown, { type Components, type ExtraProps, type Options } from "react-markdown";
import remarkGfm from "remark-gfm";
import { strings } from "../strings";
import { isClosed } from "./blocks";
import { CodeBlock } from "./CodeBlock";
import { safeHref } from "./links";

const components: Components = {
  a: ({ href, children }) => <OutwardLink href={href}>{children}</OutwardLink>,
  // A picture from elsewhere would tell its server who reads this, and when.
  img: ({ src, alt }) => (
    <OutwardLink href={typeof src === "string" ? src : undefined}>{strings.image(alt ?? "")}</OutwardLink>
  ),
  pre: Fenced,
  table: ({ children }) => (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach.
    <div className="overflow-x-auto" tabIndex={0}>
      <table>{children}</table>
    </div>
  ),
};

function OutwardLink({ href, children }: ComponentProps<"a">) {
  const safe = safeHref(href);
  if (safe === undefined) return <span>{children}</span>;
  return (
    <a href={safe} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

/** What stands in a block of code, as Markdown has it, and the word behind its fence. */
export function codeOf(node: ExtraProps["node"]): { language: string; text: string } {
  const code = node?.children[0];
  if (code?.type !== "element") return { language: "", text: "" };
  const classes = code.properties.className;
  const named = Array.isArray(classes) ? classes.find((each) => String(each).startsWith("language-")) : undefined;
  const text = code.children.map((child) => (child.type === "text" ? child.value : "")).join("");
  return { language: String(named ?? "").replace("language-", ""), text: text.replace(/\n$/, "") };
}

const Source = createContext("");

/** A block of code, which knows whether all of it has come. */
export function Fenced({ node }: ExtraProps) {
  const text = use(Source);
  const { start, end } = node?.position ?? {};
  return <CodeBlock {...codeOf(node)} isWhole={isClosed(text.slice(start?.offset ?? 0, end?.offset ?? 0))} />;
}

interface Props {
  text: string;
  remarkPlugins?: NonNullable<Options["remarkPlugins"]>;
  rehypePlugins?: NonNullable<Options["rehypePlugins"]>;
  /** In the place of those here, or beside them. */
  otherComponents?: Components;
}

export function Block({ text, remarkPlugins = [], rehypePlugins = [], otherComponents }: Props) {
  return (
    <Source value={text}>
      <ReactMarkdown
        components={{ ...components, ...otherComponents }}
        remarkPlugins={[remarkGfm, ...remarkPlugins]}
        rehypePlugins={rehypePlugins}
        urlTransform={(address) => safeHref(address) ?? ""}
      >
        {text}
      </ReactMarkdown>
    </Source>
  );
}
