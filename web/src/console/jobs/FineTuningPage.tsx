import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FineTuningJob, fineTuningJobs } from "../data/jobs";
import { LIVE_MS } from "../data/lists";
import { useProject } from "../data/project";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { More } from "../parts/More";
import { Empty, Loaded, Page } from "../parts/Page";
import { Status } from "../parts/Status";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { NewFineTuning } from "./FineTuningForm";

export function FineTuningPage() {
  const jobs = useInfiniteQuery({ ...fineTuningJobs(useProject()), refetchInterval: LIVE_MS });
  const rows = jobs.data?.pages.flatMap(({ data }) => data) ?? [];
  return (
    <Page title={words.nav.fineTuning} lead={words.jobs.fineTuningLead} actions={<NewFineTuning />}>
      <Loaded query={jobs}>
        {rows.length === 0 ? (
          <Empty>{words.jobs.noFineTuning}</Empty>
        ) : (
          <Table
            label={words.nav.fineTuning}
            rows={rows}
            keyOf={({ id }) => id}
            columns={[
              {
                title: words.jobs.job,
                cell: ({ id }) => (
                  <Link
                    to="/console/fine-tuning/$jobId"
                    params={{ jobId: id }}
                    className="font-mono text-accent text-xs hover:underline"
                  >
                    {id}
                  </Link>
                ),
              },
              { title: words.jobs.base, cell: ({ model }) => model },
              { title: words.jobs.method, cell: ({ method }) => method.type },
              { title: words.jobs.state, cell: ({ status }) => <Status of={status} /> },
              { title: words.jobs.progress, cell: (job) => <Progress job={job} /> },
              {
                title: words.jobs.created,
                cell: ({ created_at }) => <span className="whitespace-nowrap">{format.dateTime(created_at)}</span>,
              },
            ]}
          />
        )}
        <More of={jobs} />
      </Loaded>
    </Page>
  );
}

export function Progress({ job: { id, progress } }: { job: FineTuningJob }) {
  if (!progress) return words.none;
  const { step, steps } = progress;
  return <Meter label={id} value={step} most={steps} text={words.jobs.steps(step, steps)} />;
}
