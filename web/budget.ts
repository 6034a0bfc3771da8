/** After a build: compressed siblings of what is worth compressing, and a limit on what the first load transfers. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, gzipSync, constants as zlib } from "node:zlib";
import type { Plugin, Rolldown } from "vite";

const COMPRESSIBLE = /\.(?:html|js|css|svg)$/;
const MIN_BYTES = 1024;

/** The page. Other entries are documents that it loads when it needs them. */
const PAGE = "index.html";

/** The files that a browser fetches before anything is shown: the page, its scripts, what these import, their styles. */
function eagerFiles(bundle: Rolldown.OutputBundle): Set<string> {
  const files = new Set<string>();
  const visit = (name: string) => {
    const chunk = bundle[name];
    if (chunk?.type !== "chunk" || files.has(name)) return;
    files.add(name);
    for (const style of chunk.viteMetadata?.importedCss ?? []) files.add(style);
    chunk.imports.forEach(visit);
  };
  for (const output of Object.values(bundle)) {
    if (output.type === "chunk" && output.isEntry && output.facadeModuleId?.endsWith(`/${PAGE}`))
      visit(output.fileName);
    if (output.fileName === PAGE) files.add(output.fileName);
  }
  return files;
}

export function budget({ firstLoadBytes }: { firstLoadBytes: number }): Plugin {
  return {
    name: "budget",
    apply: "build",
    writeBundle: {
      // Vite writes index.html into the bundle late.
      order: "post",
      handler({ dir = "" }, bundle) {
        const eager = eagerFiles(bundle);
        const rows: string[] = [];
        let total = 0;
        for (const { fileName } of Object.values(bundle)) {
          if (!COMPRESSIBLE.test(fileName)) continue;
          const path = join(dir, fileName);
          const content = readFileSync(path);
          const gzip = gzipSync(content, { level: 9 });
          const brotli = brotliCompressSync(content, { params: { [zlib.BROTLI_PARAM_SIZE_HINT]: content.length } });
          if (eager.has(fileName)) {
            total += gzip.length;
            rows.push(row(fileName, content.length, gzip.length, brotli.length));
          }
          // The server writes the base into the page itself, so a compressed copy of that would be of no use.
          if (content.length < MIN_BYTES || fileName.endsWith(".html")) continue;
          writeFileSync(`${path}.gz`, gzip);
          writeFileSync(`${path}.br`, brotli);
        }
        console.info(["", `${"first load, bytes".padEnd(40)}    plain     gzip   brotli`, ...rows].join("\n"));
        console.info(`${"of at most".padEnd(49)}${total} of ${firstLoadBytes}\n`);
        if (total > firstLoadBytes) this.error(`The first load is ${total} bytes: more than ${firstLoadBytes}.`);
      },
    },
  };
}

function row(name: string, ...sizes: number[]): string {
  return name.padEnd(40) + sizes.map((size) => String(size).padStart(9)).join("");
}
