/** One streamed answer at a time: begun, shown as it grows, stopped. */

import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError, send } from "../api/client";
import { sseData } from "../api/sse";
import { type Answer, begin } from "./answer";
import type { Body } from "./request";
import { strings } from "./strings";

type Take<Chunk> = (answer: Answer, chunk: Chunk, nowMs: number) => Answer;

export interface Run {
  answer: Answer | null;
  isRunning: boolean;
  run: (body: Body) => Promise<void>;
  stop: () => void;
  clear: () => void;
}

export function useRun<Chunk>(path: string, take: Take<Chunk>): Run {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const current = useRef<AbortController | null>(null);
  const stop = useCallback(() => current.current?.abort(), []);
  useEffect(() => stop, [stop]);

  const run = useCallback(
    async (body: Body) => {
      current.current?.abort();
      const aborter = new AbortController();
      current.current = aborter;
      const show = oncePerFrame((next: Answer) => current.current === aborter && setAnswer(next));
      let latest = begin(performance.now());
      show(latest);
      try {
        const request = { ...body, stream: true, stream_options: { include_usage: true } };
        const response = await send("POST", path, { body: request, signal: aborter.signal });
        if (response.body !== null) {
          for await (const data of sseData(response.body)) {
            if (data === "[DONE]") break;
            latest = take(latest, JSON.parse(data), performance.now());
            show(latest);
          }
        }
      } catch (error) {
        latest = aborter.signal.aborted ? latest : { ...latest, error: wordsOf(error) };
      }
      show({ ...latest, isStopped: aborter.signal.aborted, endedMs: performance.now() });
    },
    [path, take],
  );
  const clear = useCallback(() => setAnswer(null), []);
  return { answer, isRunning: answer !== null && answer.endedMs === null, run, stop, clear };
}

/** In the server's words, where it had some. */
export function wordsOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  return error instanceof TypeError ? strings.unreachable : String(error);
}

/** Tokens may come faster than frames do. A page in the background has no frames: the last value is shown in time anyway. */
function oncePerFrame<T>(show: (value: T) => void): (value: T) => void {
  let waiting: { value: T } | null = null;
  const flush = () => {
    if (waiting === null) return;
    const { value } = waiting;
    waiting = null;
    show(value);
  };
  return (value) => {
    const isAsked = waiting !== null;
    waiting = { value };
    if (isAsked) return;
    if (document.hidden) setTimeout(flush);
    else requestAnimationFrame(flush);
  };
}
