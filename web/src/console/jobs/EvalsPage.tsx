import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { evals } from "../data/jobs";
import { CALM_MS } from "../data/lists";
import { useProject } from "../data/project";
import { format } from "../parts/format";
import { More } from "../parts/More";
import { Empty, Loaded, Page } from "../parts/Page";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { NewEval } from "./EvalForms";

export function EvalsPage() {
  const found = useInfiniteQuery({ ...evals(useProject()), refetchInterval: CALM_MS });
  const rows = found.data?.pages.flatMap(({ data }) => data) ?? [];
  return (
    <Page title={words.nav.evals} lead={words.jobs.evalsLead} actions={<NewEval />}>
      <Loaded query={found}>
        {rows.length === 0 ? (
          <Empty>{words.jobs.noEvals}</Empty>
        ) : (
          <Table
            label={words.nav.evals}
            rows={rows}
            keyOf={({ id }) => id}
            columns={[
              {
                title: words.jobs.evaluation,
                cell: ({ id, name }) => (
                  <Link to="/console/evals/$evalId" params={{ evalId: id }} className="text-accent hover:underline">
                    {name || id}
                  </Link>
                ),
              },
              {
                title: words.jobs.criteria,
                cell: ({ testing_criteria }) => testing_criteria.map(({ name, type }) => name ?? type).join(", "),
              },
              { title: words.jobs.created, cell: ({ created_at }) => format.dateTime(created_at) },
            ]}
          />
        )}
        <More of={found} />
      </Loaded>
    </Page>
  );
}
