/** A response that is being made, heard to its end over as many connections as that takes. */

import { getResponse, responseEvents } from "../api/chats";
import { ApiError } from "../api/client";
import type { Turn } from "../api/types";
import { isActive, type Progress, reduce, settle, unheard } from "./reduce";

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;

/** Calls `show` with the turn after every event, from the first one on, until it is over or `signal` aborts. */
export async function follow(turn: Turn, show: (turn: Turn) => void, signal: AbortSignal): Promise<void> {
  let progress = unheard(turn);
  const tell = (next: Progress) => {
    progress = next;
    show(next.turn);
  };
  for (let failures = 0; isActive(progress.turn.status) && !signal.aborted; failures++) {
    await pause(failures, signal);
    const { seen } = progress;
    try {
      await listen(progress, tell, signal);
    } catch (error) {
      if (error instanceof ApiError && !error.isTransient && !signal.aborted) {
        const { code, message } = error;
        tell({ ...progress, turn: { ...progress.turn, status: "failed", error: { code, message } } });
      }
    }
    if (progress.seen > seen) failures = 0;
  }
}

/** One connection: the events that it brings, and, if it ends before they do, how the response stands. */
async function listen(progress: Progress, tell: (next: Progress) => void, signal: AbortSignal): Promise<void> {
  const { id } = progress.turn;
  let heard = progress;
  for await (const event of responseEvents(id, heard.seen, signal)) {
    heard = reduce(heard, event);
    tell(heard);
  }
  if (!isActive(heard.turn.status)) return;
  // The events of a response that was cancelled end without one that says so.
  const response = await getResponse(id, signal);
  if (!isActive(response.status)) tell({ ...heard, turn: settle(heard.turn, response) });
}

/** Longer after every failure; aborting ends it early. */
function pause(failures: number, signal: AbortSignal): Promise<void> {
  if (failures === 0) return Promise.resolve();
  const ms = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
