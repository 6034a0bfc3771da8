/** States, told by words and, besides, by colours. */

import { words } from "../strings";
import { type Mood, moodOf } from "./states";

const LOOKS: Record<Mood, string> = {
  good: "bg-good-soft text-good",
  bad: "bg-danger-soft text-danger",
  busy: "bg-accent-soft text-accent",
  calm: "bg-hover text-soft",
};

function plain(status: string): string {
  return status.charAt(0).toUpperCase() + status.slice(1).replaceAll("_", " ");
}

export function Status({ of }: { of: string }) {
  const mood = moodOf(of);
  return (
    <span
      className={`inline-flex items-center gap-1.5 whitespace-nowrap rounded-full px-2 py-0.5 font-medium text-xs ${LOOKS[mood]}`}
    >
      <span className={`size-1.5 rounded-full bg-current ${mood === "busy" ? "pulse" : ""}`} />
      {words.statuses[of] ?? plain(of)}
    </span>
  );
}
