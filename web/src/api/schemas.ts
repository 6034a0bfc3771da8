/** What the server says, from its own description: `scripts/page_types.py` writes this file. */

/** An administrator's key without its secret. */
export interface AdminApiKey {
  id: string;
  object: "organization.admin_api_key";
  name: string;
  redacted_value: string;
  created_at: number;
  last_used_at: number | null;
  expires_at: number | null;
  owner: AdminOwner;
}

/** Whom an administrator's key was made for, if that was said. */
export interface AdminOwner {
  type: "user";
  object: "organization.user";
  name?: string;
  role: "owner";
}

/** A batch. Times are Unix seconds; what it has not come to is left out. */
export interface Batch {
  id: string;
  object: string;
  endpoint: string;
  model?: string;
  errors?: BatchErrors;
  input_file_id: string;
  completion_window: string;
  status: string;
  output_file_id?: string;
  error_file_id?: string;
  created_at: number;
  in_progress_at?: number;
  expires_at: number;
  finalizing_at?: number;
  completed_at?: number;
  failed_at?: number;
  expired_at?: number;
  cancelling_at?: number;
  cancelled_at?: number;
  request_counts: BatchCounts;
  usage: BatchUsage;
  metadata: Record<string, string> | null;
}

/** How far it is. `failed` are those that are or will be in the error file. */
export interface BatchCounts {
  total: number;
  completed: number;
  failed: number;
}

/** What is wrong with the input, and on which line of it. */
export interface BatchErrorItem {
  code: string;
  message: string;
  param: string | null;
  line: number | null;
}

/** Why a batch failed. */
export interface BatchErrors {
  object: string;
  data: BatchErrorItem[];
}

/** Of the tokens that were read. */
export interface BatchInputDetails {
  cached_tokens: number;
}

/** Of the tokens that were written. */
export interface BatchOutputDetails {
  reasoning_tokens: number;
}

/** What the requests have used so far. */
export interface BatchUsage {
  input_tokens: number;
  input_tokens_details: BatchInputDetails;
  output_tokens: number;
  output_tokens_details: BatchOutputDetails;
  total_tokens: number;
}

/**
 * A chat without what was said. `head` is the turn that was asked for, or chosen, last; `expires_at` is when a
 * temporary one is forgotten.
 */
export interface Chat {
  id: string;
  object: "chat";
  created_at: number;
  updated_at: number;
  title: string;
  folder: string;
  tags: string[];
  pinned: boolean;
  head: string | null;
  expires_at: number | null;
  settings: Record<string, unknown>;
}

/**
 * What has changed since `after`, the oldest change first. `cursor` is the next `after`. With `reset` nobody knows what
 * has changed since: everything may have.
 */
export interface ChatChangeList {
  object: "list";
  data: ChatChanged[];
  cursor: string;
  reset: boolean;
}

/**
 * A chat that has changed: it began, was renamed, said something in, or has answered. `cut` says that turns of it were
 * deleted, `deleted` that all of it was.
 */
export interface ChatChanged {
  id: string;
  object: "chat.changed";
  cut: boolean;
  deleted: boolean;
}

/** A link: its page is at /s/ID. */
export interface ChatShare {
  id: string;
  object: "chat.share";
  chat: string;
  turn: string;
  created_at: number;
}

/**
 * What was said and answered. `previous` is the turn before it; items are those of the Responses API, without
 * `logprobs`, which are most of an answer's bytes: GET /v1/responses/{id} has them. What was kept of a response goes on
 * as it is: objects with the fields of these structs.
 */
export interface ChatTurn {
  id: string;
  object: "chat.turn";
  previous: string | null;
  created_at: number;
  completed_at: number | null;
  status: "cancelled" | "completed" | "failed" | "in_progress" | "incomplete" | "queued";
  model: string;
  instructions: string | null;
  input: Record<string, unknown>[];
  output: Record<string, unknown>[];
  usage: ResponseUsage | null;
  error: ResponseError | null;
  incomplete_details: IncompleteDetails | null;
}

/** Items by what one grader made of them. */
export interface EvalCriterionResults {
  testing_criteria: string;
  passed: number;
  failed: number;
}

/** Why a run failed. */
export interface EvalError {
  code: string;
  message: string;
}

/** What one model was asked, to answer or to grade. */
export interface EvalModelUsage {
  model_name: string;
  invocation_count: number;
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cached_tokens: number;
}

/** An evaluation. */
export interface EvalObject {
  object: string;
  id: string;
  name: string;
  data_source_config: Record<string, unknown>;
  testing_criteria: Record<string, unknown>[];
  created_at: number;
  metadata: Record<string, string> | null;
}

/** A run. `report_url` is where its output items are; null is the `error` of one that has not failed. */
export interface EvalRun {
  object: string;
  id: string;
  eval_id: string;
  status: string;
  model: string;
  name: string;
  created_at: number;
  report_url: string;
  result_counts: EvalRunCounts;
  per_model_usage: EvalModelUsage[];
  per_testing_criteria_results: EvalCriterionResults[];
  data_source: unknown;
  metadata: Record<string, string> | null;
  error: EvalError | null;
}

/** Items by what came of them. */
export interface EvalRunCounts {
  total: number;
  errored: number;
  failed: number;
  passed: number;
}

/** A model that came out of a job on its way. */
export interface FineTuningCheckpoint {
  object: string;
  id: string;
  created_at: number;
  fine_tuned_model_checkpoint: string;
  fine_tuning_job_id: string;
  metrics: Record<string, number>;
  step_number: number;
}

/** Why a job failed. */
export interface FineTuningError {
  code: string;
  message: string;
  param: string | null;
}

/** Something that happened to a job. */
export interface FineTuningEvent {
  object: string;
  id: string;
  created_at: number;
  level: string;
  message: string;
  data: Record<string, unknown>;
  type: string;
}

/** What was asked for, or chosen since; "auto" before that. */
export interface FineTuningHyperparameters {
  n_epochs?: number | string;
  batch_size?: number | string;
  learning_rate_multiplier?: number | string;
  beta?: number | string;
  compute_multiplier?: number | string;
  eval_interval?: number | string;
  eval_samples?: number | string;
  reasoning_effort?: string;
}

/** Where metrics go besides. */
export interface FineTuningIntegration {
  type: string;
  wandb: FineTuningWandb;
}

/** A job. Times are Unix seconds. `priority` and `progress` are Mainspring's own, `trainingType` Azure's. */
export interface FineTuningJob {
  object: string;
  id: string;
  model: string;
  created_at: number;
  finished_at: number | null;
  estimated_finish: number | null;
  fine_tuned_model: string | null;
  organization_id: string;
  result_files: string[];
  status: string;
  training_file: string;
  validation_file: string | null;
  hyperparameters: FineTuningHyperparameters;
  trained_tokens: number | null;
  error: FineTuningError | null;
  seed: number;
  user_provided_suffix: string | null;
  integrations: FineTuningIntegration[];
  method: FineTuningMethod;
  metadata: Record<string, string> | null;
  priority: number;
  progress?: FineTuningProgress;
  trainingType?: string;
}

/** How a job trains: the field that `type` names says the rest. */
export interface FineTuningMethod {
  type: string;
  supervised?: FineTuningMethodOf;
  dpo?: FineTuningMethodOf;
  reinforcement?: FineTuningMethodOf;
  reward?: FineTuningMethodOf;
}

/** How one method trains. */
export interface FineTuningMethodOf {
  hyperparameters: FineTuningHyperparameters;
  grader?: Record<string, unknown>;
  response_format?: Record<string, unknown>;
}

/** How far a job is: steps done of so many, tokens trained on, and how fast it is. */
export interface FineTuningProgress {
  step: number;
  steps: number;
  tokens: number;
  tokens_per_s: number;
}

/** A run of Weights & Biases. */
export interface FineTuningWandb {
  project: string;
  name: string | null;
  entity: string | null;
  tags: string[];
}

/** Why an answer ends before its end. */
export interface IncompleteDetails {
  reason: "content_filter" | "max_output_tokens";
}

/** What the prompts were made of. */
export interface InputTokensDetails {
  cached_tokens: number;
  cache_write_tokens: number;
}

/** Whom a key was made for. Of people there is no more to tell: this server knows no addresses of theirs. */
export interface KeyOwner {
  type?: "service_account" | "user";
  service_account?: OwnerServiceAccount;
}

/**
 * A deployment, as OpenAI lists models. `created` is in Unix seconds; `state` is idle (its first request loads it),
 * starting, ready or restarting; `parent` is the model that an adapter belongs to.
 */
export interface Model {
  id: string;
  object: "model";
  created: number;
  owned_by: string;
  context_length: number;
  state: string;
  parent?: string;
}

/** A project; `id` is its name in paths and in the header OpenAI-Project. */
export interface OrganizationProject {
  id: string;
  object: "organization.project";
  name: string;
  created_at: number;
  archived_at: number | null;
  status: "active" | "archived";
}

/** One of the roles, which are what they are: docs/IDENTITY.md. */
export interface OrganizationRole {
  id: string;
  object: "role";
  name: string;
  description: string | null;
  permissions: string[];
  resource_type: "api.organization" | "api.project";
  predefined_role: boolean;
}

/**
 * An item of a run: what it was, what was answered, and what the graders made of it. `status` is pass, fail, or error
 * if it could not be answered or graded.
 */
export interface OutputItem {
  object: string;
  id: string;
  run_id: string;
  eval_id: string;
  created_at: number;
  status: string;
  datasource_item_id: number;
  datasource_item: Record<string, unknown>;
  results: Record<string, unknown>[];
  sample: Record<string, unknown>;
}

/** What was generated. */
export interface OutputTokensDetails {
  reasoning_tokens: number;
}

/** The service account that a key was made for. */
export interface OwnerServiceAccount {
  id: string;
  name: string;
  created_at: number;
  role: string;
}

/** A key without its secret. */
export interface ProjectApiKey {
  id: string;
  object: "organization.project.api_key";
  name: string;
  redacted_value: string;
  created_at: number;
  last_used_at: number | null;
  expires_at: number | null;
  owner: KeyOwner;
  owner_project_access: "active";
}

/** A service account. */
export interface ProjectServiceAccount {
  id: string;
  object: "organization.project.service_account";
  name: string;
  role: "member" | "none";
  created_at: number;
}

/** A response. Times are Unix seconds. `output` holds structs of this module, or objects that were kept of such. */
export interface Response {
  id: string;
  object: "response";
  created_at: number;
  status: "cancelled" | "completed" | "failed" | "in_progress" | "incomplete" | "queued";
  background: boolean;
  completed_at: number | null;
  error: ResponseError | null;
  incomplete_details: IncompleteDetails | null;
  instructions: string | null;
  max_output_tokens: number | null;
  max_tool_calls: number | null;
  model: string;
  output: unknown[];
  parallel_tool_calls: boolean;
  previous_response_id: string | null;
  conversation: ResponseConversation | null;
  prompt_cache_key: string | null;
  reasoning: Record<string, unknown>;
  safety_identifier: string | null;
  service_tier: string;
  store: boolean;
  temperature: number;
  text: Record<string, unknown>;
  tool_choice: string | Record<string, unknown>;
  tools: Record<string, unknown>[];
  top_logprobs: number;
  top_p: number;
  truncation: "auto" | "disabled";
  usage: ResponseUsage | null;
  user?: string;
  metadata: Record<string, string>;
  content_filters?: ResponseFilter[];
}

/** The conversation that a response belongs to. */
export interface ResponseConversation {
  id: string;
}

/** Why a response has failed. */
export interface ResponseError {
  code: string;
  message: string;
}

/** What the content filters found, as Azure tells it. */
export interface ResponseFilter {
  blocked: boolean;
  source_type: "completion" | "prompt";
  content_filter_results: Record<string, unknown>;
  content_filter_offsets: ResponseFilterOffsets;
}

/** Where in the text, in characters. */
export interface ResponseFilterOffsets {
  start_offset: number;
  end_offset: number;
  check_offset: number;
}

/** Tokens of all generations of a response. */
export interface ResponseUsage {
  input_tokens: number;
  input_tokens_details: InputTokensDetails;
  output_tokens: number;
  output_tokens_details: OutputTokensDetails;
  total_tokens: number;
}

/** Who is signed in with this browser, if somebody is. */
export interface SessionState {
  object: "session";
  signed_in: boolean;
  name: string;
  kind: "" | "key" | "oidc";
  roles: string[];
  project: string;
  csrf: string;
  expires_at: number;
  oidc: boolean;
}

/** A chat as the reader of a link sees it. */
export interface SharedChat {
  object: "chat.shared";
  title: string;
  turns: SharedTurn[];
}

/** What was said and answered, and nothing of how: no instructions, tools or probabilities. */
export interface SharedTurn {
  id: string;
  created_at: number;
  status: "cancelled" | "completed" | "failed" | "in_progress" | "incomplete" | "queued";
  model: string;
  input: Record<string, unknown>[];
  output: Record<string, unknown>[];
}
