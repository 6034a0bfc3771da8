import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";
import { budget } from "./budget.ts";

const server = process.env.MAINSPRING_URL ?? "http://127.0.0.1:8000";

/** KaTeX names each of its fonts in three formats; every browser that runs these pages reads the smallest. */
const onlyWoff2: Plugin = {
  name: "only-woff2",
  enforce: "pre",
  transform(code, id) {
    return id.includes("katex.min.css")
      ? code.replace(/,url\([^)]*\.(?:woff|ttf)\) format\("[a-z]+"\)/g, "")
      : undefined;
  },
};

export default defineConfig({
  // Relative, because the server puts the prefix that it is reached under into `<base href>`.
  base: "./",
  plugins: [react(), tailwindcss(), onlyWoff2, budget({ firstLoadBytes: 250_000 })],
  build: {
    outDir: "../src/mainspring/pages",
    emptyOutDir: true,
    // The pages, and the document that diagrams are drawn in.
    rolldownOptions: { input: ["index.html", "diagram.html"] },
    // The packages that are in the pages want to be named with them.
    license: { fileName: "licenses.txt" },
    // light-dark(), which both themes are made with, is not to be rewritten for older browsers.
    target: ["chrome123", "edge123", "firefox128", "safari17.5"],
    // A font or picture in a data: URL would need a hole in the content-security policy.
    assetsInlineLimit: 0,
  },
  // "null" is the origin of the document that diagrams are drawn in.
  server: { proxy: { "/v1": server }, cors: { origin: "null" } },
});
