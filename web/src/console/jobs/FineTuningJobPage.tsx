import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { post } from "../../api/client";
import { Button } from "../../ui/Button";
import { Lines } from "../charts/Lines";
import {
  checkpointsQuery,
  eventsQuery,
  type FineTuningEvent,
  type FineTuningJob,
  jobPath,
  jobQuery,
} from "../data/jobs";
import { CALM_MS, LIVE_MS } from "../data/lists";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { format } from "../parts/format";
import { Card, Empty, Loaded, Page, Problem, Section } from "../parts/Page";
import { Status } from "../parts/Status";
import { isBusy } from "../parts/states";
import { Facts, Table } from "../parts/Table";
import { words } from "../strings";
import { curvesOf } from "./curves";
import { Progress } from "./FineTuningPage";

export function FineTuningJobPage() {
  const { jobId = "" } = useParams({ strict: false });
  const project = useProject();
  const job = useQuery(jobQuery(project, jobId));
  const isLive = job.data !== undefined && isBusy(job.data.status);
  const often = { refetchInterval: isLive ? LIVE_MS : CALM_MS };
  const events = useQuery({ ...eventsQuery(project, jobId), ...often });
  return (
    <Page
      title={job.data?.fine_tuned_model ?? words.jobs.fineTuningJob}
      lead={
        <Link to="/console/fine-tuning" className="text-accent hover:underline">
          {words.nav.fineTuning}
        </Link>
      }
      actions={job.data && <Actions job={job.data} project={project} />}
    >
      <Loaded query={job}>
        {job.data && <About job={job.data} />}
        <Loaded query={events}>
          <Curves events={events.data ?? []} steps={job.data?.progress?.steps ?? 0} />
          <Checkpoints project={project} jobId={jobId} interval={often.refetchInterval} />
          <Section title={words.jobs.events}>
            <Events events={events.data ?? []} />
          </Section>
        </Loaded>
      </Loaded>
    </Page>
  );
}

function Actions({ job, project }: { job: FineTuningJob; project: string }) {
  const change = useChange((verb: "cancel" | "pause" | "resume") => post(`${jobPath(project, job.id)}/${verb}`));
  const isBusyNow = isBusy(job.status);
  return (
    <>
      <Problem error={change.error} />
      {job.status === "running" && (
        <Button look="outline" disabled={change.isPending} onClick={() => change.mutate("pause")}>
          {words.jobs.pause}
        </Button>
      )}
      {job.status === "paused" && (
        <Button look="outline" disabled={change.isPending} onClick={() => change.mutate("resume")}>
          {words.jobs.resume}
        </Button>
      )}
      {(isBusyNow || job.status === "paused") && (
        <AskButton
          label={words.jobs.cancel}
          title={words.jobs.cancelTitle}
          text={words.jobs.cancelText}
          isDisabled={change.isPending}
          onConfirm={() => change.mutate("cancel")}
        />
      )}
    </>
  );
}

function About({ job }: { job: FineTuningJob }) {
  const { progress, hyperparameters } = job;
  const method = job.method[job.method.type as "supervised" | "dpo" | "reinforcement" | "reward"];
  const chosen = Object.entries({ ...hyperparameters, ...method?.hyperparameters });
  return (
    <div className="grid gap-3 lg:grid-cols-2">
      <Problem error={job.error && new Error(job.error.message)} />
      <Card className="p-4">
        <Facts
          facts={[
            [words.jobs.state, <Status key="state" of={job.status} />],
            [words.jobs.progress, <Progress key="progress" job={job} />],
            [words.jobs.speed, progress ? words.jobs.perSecond(progress.tokens_per_s) : words.none],
            [words.jobs.tokens, format.whole(job.trained_tokens ?? progress?.tokens ?? 0)],
            [words.jobs.created, format.dateTime(job.created_at)],
            job.finished_at === null
              ? [
                  words.jobs.estimated,
                  job.estimated_finish === null ? words.none : format.dateTime(job.estimated_finish),
                ]
              : [words.jobs.finished, format.dateTime(job.finished_at)],
          ]}
        />
      </Card>
      <Card className="p-4">
        <Facts
          facts={[
            [words.jobs.job, <code key="id">{job.id}</code>],
            [words.jobs.base, job.model],
            [words.jobs.result, job.fine_tuned_model ?? words.none],
            [words.jobs.method, job.method.type],
            [words.jobs.trainingFile, <code key="training">{job.training_file}</code>],
            [words.jobs.validationFile, <code key="validation">{job.validation_file ?? words.none}</code>],
            [words.jobs.seed, job.seed],
            ...chosen.map(([name, value]) => [name.replaceAll("_", " "), String(value)] as const),
          ]}
        />
      </Card>
    </div>
  );
}

function Curves({ events, steps }: { events: FineTuningEvent[]; steps: number }) {
  return curvesOf(events).map(({ kind, lines }) => {
    const last = Math.max(...lines.flatMap(({ points }) => points.map(({ x }) => x)));
    return (
      <Section key={kind} title={words.jobs.curves[kind]}>
        <Card className="p-4">
          <Lines title={words.jobs.curves[kind]} lines={lines} mostX={Math.max(last, steps)} />
        </Card>
      </Section>
    );
  });
}

function Checkpoints({ project, jobId, interval }: { project: string; jobId: string; interval: number }) {
  const checkpoints = useQuery({ ...checkpointsQuery(project, jobId), refetchInterval: interval });
  if (!checkpoints.data?.length) return <Problem error={checkpoints.error} />;
  return (
    <Section title={words.jobs.checkpoints}>
      <Table
        label={words.jobs.checkpoints}
        rows={checkpoints.data}
        keyOf={({ id }) => id}
        columns={[
          { title: words.chart.step, cell: ({ step_number }) => format.whole(step_number), isNumber: true },
          { title: words.jobs.model, cell: (each) => <code>{each.fine_tuned_model_checkpoint}</code> },
          { title: words.jobs.metrics, cell: ({ metrics }) => metricsText(metrics) },
          { title: words.jobs.created, cell: ({ created_at }) => format.dateTime(created_at) },
        ]}
      />
    </Section>
  );
}

function metricsText(metrics: Record<string, number>): string {
  const shown = Object.entries(metrics).filter(([name]) => name !== "step");
  return shown.map(([name, value]) => `${name.replaceAll("_", " ")} ${format.decimal(value)}`).join(", ");
}

/** The table of the curves too: each step's event has its numbers in words. */
function Events({ events }: { events: FineTuningEvent[] }) {
  if (events.length === 0) return <Empty>{words.jobs.noEvents}</Empty>;
  return (
    <div className="max-h-96 overflow-y-auto">
      <Table
        label={words.jobs.events}
        rows={events}
        keyOf={({ id }) => id}
        columns={[
          {
            title: words.chart.time,
            cell: ({ created_at }) => <span className="whitespace-nowrap">{format.dateTime(created_at)}</span>,
          },
          {
            title: words.jobs.event,
            cell: ({ level, message }) => <span className={level === "info" ? "" : "text-danger"}>{message}</span>,
          },
        ]}
      />
    </div>
  );
}
