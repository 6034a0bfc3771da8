/** The runs of one evaluation. */

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { type EvalRun, evalQuery, runs } from "../data/jobs";
import { LIVE_MS } from "../data/lists";
import { useProject } from "../data/project";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { More } from "../parts/More";
import { Empty, Loaded, Page } from "../parts/Page";
import { Status } from "../parts/Status";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { NewRun } from "./EvalForms";

export function EvalPage() {
  const { evalId = "" } = useParams({ strict: false });
  const project = useProject();
  const { data: evaluation } = useQuery(evalQuery(project, evalId));
  const found = useInfiniteQuery({ ...runs(project, evalId), refetchInterval: LIVE_MS });
  const rows = found.data?.pages.flatMap(({ data }) => data) ?? [];
  return (
    <Page
      title={evaluation?.name || evalId}
      lead={
        <Link to="/console/evals" className="text-accent hover:underline">
          {words.nav.evals}
        </Link>
      }
      actions={evaluation && <NewRun evaluation={evaluation} />}
    >
      <Loaded query={found}>
        {rows.length === 0 ? (
          <Empty>{words.jobs.noRuns}</Empty>
        ) : (
          <Table
            label={words.jobs.runs}
            rows={rows}
            keyOf={({ id }) => id}
            columns={[
              {
                title: words.jobs.run,
                cell: ({ id, name }) => (
                  <Link
                    to="/console/evals/$evalId/$runId"
                    params={{ evalId, runId: id }}
                    className="text-accent hover:underline"
                  >
                    {name || id}
                  </Link>
                ),
              },
              { title: words.jobs.model, cell: ({ model }) => model || words.none },
              { title: words.jobs.state, cell: ({ status }) => <Status of={status} /> },
              { title: words.jobs.passed, cell: (run) => <Passed run={run} /> },
              { title: words.jobs.created, cell: ({ created_at }) => format.dateTime(created_at) },
            ]}
          />
        )}
        <More of={found} />
      </Loaded>
    </Page>
  );
}

export function Passed({ run: { id, result_counts: counts } }: { run: EvalRun }) {
  const { passed, total, errored } = counts;
  return (
    <>
      <Meter label={id} value={passed} most={total} text={words.jobs.of(passed, total)} />
      {errored > 0 && <p className="text-danger text-xs">{words.jobs.errored(errored)}</p>}
    </>
  );
}
