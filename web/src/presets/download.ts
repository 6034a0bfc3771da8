import type { Preset } from "./api";
import { exported, fileName } from "./preset";

/** Have the browser save assistants as a file. */
export function download(presets: readonly Preset[]): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([exported(presets)], { type: "application/json" }));
  link.download = fileName(presets);
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
