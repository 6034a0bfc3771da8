/** A response that is being made, heard to its end over as many connections as that takes. */

import { getResponse, responseEvents } from "../api/chats";
import { ApiError } from "../api/client";
import type { Turn } from "../api/types";
import { isActive, type Progress, reduce, settle, unheard } from "./reduce";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;

/** Calls `show` with the turn after every event, from the first one on, until it is over or `signal` aborts. */
export async function follow(turn: Turn, show: (turn: Turn) => void, signal: AbortSignal): Promise<void> {
  let progress: Progress = unheard(turn);
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      await pause(failures, signal);
      for await (const event of responseEvents(turn.id, progress.seen, signal)) {
        progress = reduce(progress, event);
        failures = 0;
        show(progress.turn);
      }
      if (!isActive(progress.turn.status)) return;
      // The events of a response that was cancelled end without one that says so.
      const response = await getResponse(turn.id, signal);
      if (isActive(response.status)) continue;
      show(settle(progress.turn, response));
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError) || error.isTransient) continue;
      show({ ...progress.turn, status: "failed", error: { code: error.code, message: error.message } });
      return;
    }
  }
}

/** Longer after every failure; aborting ends it early. */
function pause(failures: number, signal: AbortSignal): Promise<void> {
  if (failures === 0) return Promise.resolve();
  const ms = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
