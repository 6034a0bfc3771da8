/** Code in colours. Loaded when the first code comes; each language when the first code in it does. */

import { toJsxRuntime } from "hast-util-to-jsx-runtime";
import type { LanguageFn } from "highlight.js";
import { createLowlight } from "lowlight";
import { use, useDeferredValue, useMemo } from "react";
import { Fragment, jsx, jsxs } from "react/jsx-runtime";

const GRAMMARS: Record<string, () => Promise<{ default: LanguageFn }>> = {
  bash: () => import("highlight.js/lib/languages/bash"),
  c: () => import("highlight.js/lib/languages/c"),
  cpp: () => import("highlight.js/lib/languages/cpp"),
  csharp: () => import("highlight.js/lib/languages/csharp"),
  css: () => import("highlight.js/lib/languages/css"),
  diff: () => import("highlight.js/lib/languages/diff"),
  go: () => import("highlight.js/lib/languages/go"),
  java: () => import("highlight.js/lib/languages/java"),
  javascript: () => import("highlight.js/lib/languages/javascript"),
  json: () => import("highlight.js/lib/languages/json"),
  python: () => import("highlight.js/lib/languages/python"),
  rust: () => import("highlight.js/lib/languages/rust"),
  sql: () => import("highlight.js/lib/languages/sql"),
  typescript: () => import("highlight.js/lib/languages/typescript"),
  xml: () => import("highlight.js/lib/languages/xml"),
  yaml: () => import("highlight.js/lib/languages/yaml"),
};

const ALIASES: Record<string, string> = {
  "c++": "cpp",
  cs: "csharp",
  golang: "go",
  html: "xml",
  js: "javascript",
  jsx: "javascript",
  py: "python",
  python3: "python",
  rs: "rust",
  sh: "bash",
  shell: "bash",
  svg: "xml",
  ts: "typescript",
  tsx: "typescript",
  yml: "yaml",
  zsh: "bash",
};

const lowlight = createLowlight();
const loading = new Map<string, Promise<boolean>>();

/** Whether the grammar is there, once it is or cannot be. The same promise for each language: React waits for it. */
function grammar(name: string): Promise<boolean> {
  const known = loading.get(name);
  if (known !== undefined) return known;
  const load = GRAMMARS[name] ?? (() => Promise.reject(new Error(name)));
  const promise = load().then(
    (module) => {
      lowlight.register(name, module.default);
      return true;
    },
    () => false,
  );
  loading.set(name, promise);
  return promise;
}

export default function Highlighted({ language, text }: { language: string; text: string }) {
  const lower = language.toLowerCase();
  const name = ALIASES[lower] ?? lower;
  const isThere = use(grammar(name));
  // While code is still being written, the colours may lag behind it, but typing may not.
  const settled = useDeferredValue(text);
  return useMemo(
    () => (isThere ? toJsxRuntime(lowlight.highlight(name, settled), { Fragment, jsx, jsxs }) : settled),
    [isThere, name, settled],
  );
}
