/** Fine-tuning jobs, batches and evaluations. */

import { queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import { isBusy } from "../parts/states";
import { CALM_MS, inProject, LIVE_MS, type Listed, pagesOf, wholeList } from "./lists";

export interface FineTuningJob {
  id: string;
  model: string;
  status: string;
  created_at: number;
  finished_at: number | null;
  estimated_finish: number | null;
  fine_tuned_model: string | null;
  user_provided_suffix: string | null;
  training_file: string;
  validation_file: string | null;
  trained_tokens: number | null;
  result_files: string[];
  seed: number;
  error: { code: string; message: string } | null;
  method: { type: string; [kind: string]: unknown };
  hyperparameters: Record<string, string | number>;
  progress?: { step: number; steps: number; tokens: number; tokens_per_s: number };
}

export interface Batch {
  id: string;
  endpoint: string;
  model?: string;
  status: string;
  created_at: number;
  completed_at?: number;
  expires_at: number;
  input_file_id: string;
  output_file_id?: string;
  error_file_id?: string;
  request_counts: { total: number; completed: number; failed: number };
  usage: { input_tokens: number; output_tokens: number };
  errors?: { data: { message: string; line: number | null }[] };
}

export function fineTuningJobs(project: string) {
  return pagesOf<FineTuningJob>(inProject(project, "fine_tuning/jobs"));
}

export function batches(project: string) {
  return pagesOf<Batch>(inProject(project, "batches"));
}

export interface JobEvent {
  id: string;
  created_at: number;
  level: "info" | "warn" | "error";
  message: string;
  type: "message" | "metrics";
  data: Record<string, unknown>;
}

export interface Checkpoint {
  id: string;
  created_at: number;
  fine_tuned_model_checkpoint: string;
  step_number: number;
  metrics: Record<string, number>;
}

export interface Eval {
  id: string;
  name: string;
  created_at: number;
  testing_criteria: { name?: string; type: string }[];
  data_source_config: { schema?: { properties?: { item?: { properties?: Record<string, unknown> } } } };
}

export interface EvalRun {
  id: string;
  name: string;
  model: string;
  status: string;
  created_at: number;
  result_counts: { total: number; errored: number; failed: number; passed: number };
  per_testing_criteria_results: { testing_criteria: string; passed: number; failed: number }[];
  per_model_usage: { model_name: string; invocation_count: number; total_tokens: number }[];
  error: { code: string; message: string } | null;
}

export interface OutputItem {
  id: string;
  status: string;
  datasource_item_id: number;
  datasource_item: Record<string, unknown>;
  results: { name?: string; score?: number; passed?: boolean }[];
  sample: { output?: { content?: unknown }[]; error?: { message?: string } | null };
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
    queryFn: async ({ client, queryKey, signal }): Promise<JobEvent[]> => {
      const known = client.getQueryData<JobEvent[]>(queryKey) ?? [];
      const newest = known[0]?.id;
      const fresh: JobEvent[] = [];
      for (let page = 0, after = ""; page < MOST_PAGES; page++) {
        const query = new URLSearchParams({ limit: "100", ...(after && { after }) });
        const { data, has_more } = await get<Listed<JobEvent>>(`${jobPath(project, id)}/events?${query}`, signal);
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
    queryFn: ({ signal }) => wholeList<Checkpoint>(`${jobPath(project, id)}/checkpoints`, signal),
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
