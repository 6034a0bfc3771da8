import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { ApiError, get } from "../../api/client";
import { TimeBars } from "../charts/TimeBars";
import { batches, fineTuningJobs } from "../data/jobs";
import { CALM_MS, LIVE_MS } from "../data/lists";
import { projectModels } from "../data/models";
import { useProject } from "../data/project";
import { completionsQuery, costsQuery, embeddingsQuery, merged, type Span, sum } from "../data/usage";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { Card, Empty, Loaded, Page, Problem, Section, Tile } from "../parts/Page";
import { Status } from "../parts/Status";
import { chartOf } from "../parts/series";
import { isBusy } from "../parts/states";
import { Table } from "../parts/Table";
import { words } from "../strings";

const DAY: Span = { seconds: 86_400, width: "1h" };
const DAY_BY_MODEL: Span = { ...DAY, by: "model" };

export function OverviewPage() {
  return (
    <Page title={words.overview.title}>
      <Section title={words.overview.health}>
        <Health />
      </Section>
      <Section title={words.overview.day}>
        <Day />
      </Section>
      <Section title={words.overview.jobs}>
        <Jobs />
      </Section>
      <Section title={words.overview.served}>
        <Models />
      </Section>
    </Page>
  );
}

function useHealth(path: "healthz" | "readyz") {
  return useQuery({
    queryKey: ["console", path],
    queryFn: ({ signal }) => get<{ status: string }>(path, signal),
    refetchInterval: LIVE_MS,
    // "Not ready" is an answer, and no reason to ask again at once.
    retry: false,
  });
}

function Health() {
  return (
    <div className="grid gap-3 sm:grid-cols-2">
      <Probe label={words.overview.server} path="healthz" />
      <Probe label={words.overview.models} path="readyz" />
    </div>
  );
}

function Probe({ label, path }: { label: string; path: "healthz" | "readyz" }) {
  const { data, error } = useHealth(path);
  return (
    <Tile label={label} hint={error?.message}>
      {error ? <Status of={isNotReady(error) ? "not_ready" : "failed"} /> : <Status of={data?.status ?? "unknown"} />}
    </Tile>
  );
}

/** Of a model that is being loaded, the server says so. */
function isNotReady(error: Error): boolean {
  return error instanceof ApiError && error.status === 503;
}

function Day() {
  const completions = useQuery(completionsQuery(DAY_BY_MODEL));
  const embeddings = useQuery(embeddingsQuery(DAY_BY_MODEL));
  const costs = useQuery(costsQuery(DAY));
  const usage = merged(completions.data, embeddings.data);
  const input = sum(usage, (each) => each.input_tokens ?? 0);
  const cached = sum(usage, (each) => each.input_cached_tokens ?? 0);
  const requests = (each: { num_model_requests?: number }) => each.num_model_requests ?? 0;
  return (
    <Loaded query={completions}>
      <Problem error={costs.error ?? embeddings.error} />
      <div className="grid grid-cols-2 gap-3 lg:grid-cols-4">
        <Tile label={words.overview.requests}>{format.whole(sum(usage, requests))}</Tile>
        <Tile label={words.overview.inputTokens} hint={input > 0 && words.overview.cached(cached / input)}>
          {format.whole(input)}
        </Tile>
        <Tile label={words.overview.outputTokens}>{format.whole(sum(usage, (each) => each.output_tokens ?? 0))}</Tile>
        <Tile label={words.overview.cost} hint={words.overview.costHint}>
          {costs.data ? format.money(sum(costs.data, (each) => each.amount.value)) : words.none}
        </Tile>
      </div>
      <Card className="p-4">
        <h3 className="mb-3 font-medium text-sm">{words.overview.chart}</h3>
        <TimeBars
          title={words.overview.chart}
          chart={chartOf(usage, ({ model }) => model || words.chart.unnamed, requests, words.chart.other)}
          isDaily={false}
          isWhole
        />
      </Card>
      <p className="text-soft text-xs">{words.overview.dayHint}</p>
    </Loaded>
  );
}

interface Underway {
  id: string;
  kind: string;
  status: string;
  done: number;
  of: number;
  begun: number;
}

function Jobs() {
  const project = useProject();
  const live = { refetchInterval: LIVE_MS } as const;
  const tunings = useInfiniteQuery({ ...fineTuningJobs(project), ...live });
  const batched = useInfiniteQuery({ ...batches(project), ...live });
  const underway: Underway[] = [
    ...(tunings.data?.pages.flatMap(({ data }) => data) ?? []).map((job) => ({
      id: job.id,
      kind: words.nav.fineTuning,
      status: job.status,
      done: job.progress?.step ?? 0,
      of: job.progress?.steps ?? 0,
      begun: job.created_at,
    })),
    ...(batched.data?.pages.flatMap(({ data }) => data) ?? []).map((batch) => ({
      id: batch.id,
      kind: words.nav.batches,
      status: batch.status,
      done: batch.request_counts.completed + batch.request_counts.failed,
      of: batch.request_counts.total,
      begun: batch.created_at,
    })),
  ].filter(({ status }) => isBusy(status));
  const error = tunings.error ?? batched.error;
  if (error) return <Problem error={error} />;
  return (
    <Loaded query={tunings.data ? batched : tunings}>
      {underway.length === 0 ? (
        <Empty>{words.overview.noJobs}</Empty>
      ) : (
        <Table
          label={words.overview.jobs}
          rows={underway}
          keyOf={({ id }) => id}
          columns={[
            { title: words.overview.job, cell: ({ id }) => <code>{id}</code> },
            { title: words.overview.kind, cell: ({ kind }) => kind },
            { title: words.overview.state, cell: ({ status }) => <Status of={status} /> },
            {
              title: words.overview.progress,
              cell: ({ id, done, of }) =>
                of > 0 && (
                  <Meter label={id} value={done} most={of} text={`${format.whole(done)} / ${format.whole(of)}`} />
                ),
            },
            { title: words.overview.begun, cell: ({ begun }) => format.dateTime(begun) },
          ]}
        />
      )}
    </Loaded>
  );
}

function Models() {
  const models = useQuery({ ...projectModels(useProject()), refetchInterval: CALM_MS });
  return (
    <Loaded query={models}>
      {models.data?.length === 0 ? (
        <Empty>{words.overview.noModels}</Empty>
      ) : (
        <Table
          label={words.overview.served}
          rows={models.data ?? []}
          keyOf={({ id }) => id}
          columns={[
            { title: words.overview.name, cell: ({ id }) => <span className="break-all font-medium">{id}</span> },
            { title: words.overview.state, cell: ({ state }) => <Status of={state} /> },
            { title: words.overview.owner, cell: ({ owned_by }) => owned_by },
            {
              title: words.overview.context,
              isNumber: true,
              cell: ({ context_length }) => format.whole(context_length),
            },
          ]}
        />
      )}
    </Loaded>
  );
}
