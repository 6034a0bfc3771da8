/** Fine-tuning jobs, batches and evaluations. */

import type * as schemas from "../../api/schemas";
import type {
  Batch,
  EvalObject,
  EvalRun,
  FineTuningCheckpoint,
  FineTuningEvent,
  FineTuningJob,
} from "../../api/schemas";

export type { Batch, EvalRun, FineTuningCheckpoint, FineTuningEvent, FineTuningJob };

import { queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import { isBusy } from "../parts/states";
import { CALM_MS, inProject, LIVE_MS, type Listed, pagesOf, wholeList } from "./lists";

export function fineTuningJobs(project: string) {
  return pagesOf<FineTuningJob>(inProject(project, "fine_tuning/jobs"));
}

export function batches(project: string) {
  return pagesOf<Batch>(inProject(project, "batches"));
}

/** What was graded, and how, is OpenAI's objects: of them the page reads these fields. */
export interface OutputItem extends Omit<schemas.OutputItem, "results" | "sample"> {
  results: { name?: string; score?: number; passed?: boolean }[];
  sample: { output?: { content?: unknown }[]; error?: { message?: string } | null };
}

export interface Eval extends Omit<EvalObject, "testing_criteria" | "data_source_config"> {
  testing_criteria: { name?: string; type: string }[];
  data_source_config: { schema?: { properties?: { item?: { properties?: Record<string, unknown> } } } };
}

export function jobPath(project: string, id: string): string {
  return inProject(project, `fine_tuning/jobs/${encodeURIComponent(id)}`);
}

export function batchPath(project: string, id: string): string {
  return inProject(project, `batches/${encodeURIComponent(id)}`);
}

export function evalPath(project: string, id: string, below = ""): string {
  return inProject(project, `evals/${encodeURIComponent(id)}${below}`);
}

export function runPath(project: string, evalId: string, id: string): string {
  return evalPath(project, evalId, `/runs/${encodeURIComponent(id)}`);
}

export function jobQuery(project: string, id: string) {
  return queryOptions({
    queryKey: ["console", "job", project, id],
    queryFn: ({ signal }) => get<FineTuningJob>(jobPath(project, id), signal),
    refetchInterval: ({ state: { data } }) => (data && isBusy(data.status) ? LIVE_MS : CALM_MS),
  });
}

/** Of longer jobs the newest events are shown: as many as so many pages of the server have. */
const MOST_PAGES = 20;

/** Newest first. What is there already is not asked for again: events do not change. */
export function eventsQuery(project: string, id: string) {
  return queryOptions({
    queryKey: ["console", "events", project, id],
    queryFn: async ({ client, queryKey, signal }): Promise<FineTuningEvent[]> => {
      const known = client.getQueryData<FineTuningEvent[]>(queryKey) ?? [];
      const newest = known[0]?.id;
      const fresh: FineTuningEvent[] = [];
      for (let page = 0, after = ""; page < MOST_PAGES; page++) {
        const query = new URLSearchParams({ limit: "100", ...(after && { after }) });
        const { data, has_more } = await get<Listed<FineTuningEvent>>(
          `${jobPath(project, id)}/events?${query}`,
          signal,
        );
        const end = data.findIndex((event) => event.id === newest);
        fresh.push(...(end < 0 ? data : data.slice(0, end)));
        if (end >= 0) return [...fresh, ...known];
        after = data.at(-1)?.id ?? "";
        if (!has_more || after === "") break;
      }
      return fresh;
    },
  });
}

export function checkpointsQuery(project: string, id: string) {
  return queryOptions({
    queryKey: ["console", "checkpoints", project, id],
    queryFn: ({ signal }) => wholeList<FineTuningCheckpoint>(`${jobPath(project, id)}/checkpoints`, signal),
  });
}

export function evals(project: string) {
  return pagesOf<Eval>(inProject(project, "evals?order=desc"));
}

export function evalQuery(project: string, id: string) {
  return queryOptions({
    queryKey: ["console", "eval", project, id],
    queryFn: ({ signal }) => get<Eval>(evalPath(project, id), signal),
  });
}

export function runs(project: string, evalId: string) {
  return pagesOf<EvalRun>(evalPath(project, evalId, "/runs?order=desc"));
}

export function runQuery(project: string, evalId: string, id: string) {
  return queryOptions({
    queryKey: ["console", "run", project, evalId, id],
    queryFn: ({ signal }) => get<EvalRun>(runPath(project, evalId, id), signal),
    refetchInterval: ({ state: { data } }) => (data && isBusy(data.status) ? LIVE_MS : false),
  });
}

/** @param status pass, fail or, with neither, all. */
export function outputItems(project: string, evalId: string, run: string, status: "" | "pass" | "fail") {
  return pagesOf<OutputItem>(`${runPath(project, evalId, run)}/output_items${status && `?status=${status}`}`);
}
