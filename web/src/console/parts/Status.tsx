/** States of jobs, models and deployments, told by words and, besides, by colours. */

import { words } from "../strings";

const GOOD = new Set(["ready", "ok", "completed", "succeeded", "Succeeded", "Running", "pass", "active"]);
const BAD = new Set(["failed", "Failed", "expired", "fail", "error"]);
const BUSY = new Set([
  "queued", "running", "in_progress", "validating", "validating_files", "finalizing", "cancelling", "starting",
  "restarting", "Creating",
]); // biome-ignore format: a list of words

const LOOKS = {
  good: "bg-good-soft text-good",
  bad: "bg-danger-soft text-danger",
  busy: "bg-accent-soft text-accent",
  calm: "bg-hover text-soft",
};

export function isBusy(status: string): boolean {
  return BUSY.has(status);
}

function lookOf(status: string): keyof typeof LOOKS {
  if (GOOD.has(status)) return "good";
  if (BAD.has(status)) return "bad";
  return isBusy(status) ? "busy" : "calm";
}

export function Status({ of }: { of: string }) {
  const look = lookOf(of);
  return (
    <span
      className={`inline-flex items-center gap-1.5 whitespace-nowrap rounded-full px-2 py-0.5 font-medium text-xs ${LOOKS[look]}`}
    >
      <span className={`size-1.5 rounded-full bg-current ${look === "busy" ? "pulse" : ""}`} />
      {words.statuses[of] ?? of.replaceAll("_", " ")}
    </span>
  );
}
