/** Fine-tuning jobs, batches and evaluations. */

import { inProject, pagesOf } from "./lists";

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
