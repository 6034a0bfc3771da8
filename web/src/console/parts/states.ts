/** What states of jobs, models and deployments mean. */

const GOOD = new Set(["ready", "ok", "completed", "succeeded", "Succeeded", "Running", "pass", "active"]);
const BAD = new Set(["failed", "Failed", "expired", "fail", "error"]);
const BUSY = new Set([
  ...["queued", "running", "in_progress", "validating", "validating_files", "finalizing", "cancelling"],
  ...["starting", "restarting", "Creating"],
]);

export type Mood = "good" | "bad" | "busy" | "calm";

/** Whether it will be another one soon. */
export function isBusy(status: string): boolean {
  return BUSY.has(status);
}

export function moodOf(status: string): Mood {
  if (GOOD.has(status)) return "good";
  if (BAD.has(status)) return "bad";
  return isBusy(status) ? "busy" : "calm";
}
