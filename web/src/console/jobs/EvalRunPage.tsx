/** What came of one run of an evaluation, item by item. */

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { post } from "../../api/client";
import { type EvalRun, evalQuery, type OutputItem, outputItems, runPath, runQuery } from "../data/jobs";
import { CALM_MS, LIVE_MS } from "../data/lists";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { format } from "../parts/format";
import { More } from "../parts/More";
import { Card, Empty, Loaded, Page, Problem, Section } from "../parts/Page";
import { Select } from "../parts/Select";
import { Status } from "../parts/Status";
import { isBusy } from "../parts/states";
import { Facts, Table } from "../parts/Table";
import { words } from "../strings";
import { Passed } from "./EvalPage";

export function EvalRunPage() {
  const { evalId = "", runId = "" } = useParams({ strict: false });
  const project = useProject();
  const { data: evaluation } = useQuery(evalQuery(project, evalId));
  const run = useQuery(runQuery(project, evalId, runId));
  const cancel = useChange(() => post(`${runPath(project, evalId, runId)}/cancel`));
  const isLive = run.data !== undefined && isBusy(run.data.status);
  return (
    <Page
      title={run.data?.name || runId}
      lead={
        <Link to="/console/evals/$evalId" params={{ evalId }} className="text-accent hover:underline">
          {evaluation?.name || evalId}
        </Link>
      }
      actions={
        isLive && (
          <AskButton
            label={words.jobs.cancel}
            title={words.jobs.cancelRunTitle}
            text={words.jobs.cancelRunText}
            isDisabled={cancel.isPending}
            onConfirm={() => cancel.mutate(undefined)}
          />
        )
      }
    >
      <Problem error={cancel.error} />
      <Loaded query={run}>
        {run.data && <About run={run.data} />}
        <Items project={project} evalId={evalId} runId={runId} isLive={isLive} />
      </Loaded>
    </Page>
  );
}

function About({ run }: { run: EvalRun }) {
  const criteria = run.per_testing_criteria_results.map(
    ({ testing_criteria, passed, failed }) => [testing_criteria, words.jobs.of(passed, passed + failed)] as const,
  );
  const tokens = run.per_model_usage.reduce((sum, { total_tokens }) => sum + total_tokens, 0);
  return (
    <>
      <Problem error={run.error && new Error(run.error.message)} />
      <div className="grid gap-3 lg:grid-cols-2">
        <Card className="p-4">
          <Facts
            facts={[
              [words.jobs.state, <Status key="state" of={run.status} />],
              [words.jobs.passed, <Passed key="passed" run={run} />],
              [words.jobs.model, run.model || words.none],
              [words.jobs.tokens, format.whole(tokens)],
              [words.jobs.created, format.dateTime(run.created_at)],
            ]}
          />
        </Card>
        <Card className="p-4">
          <h2 className="mb-3 font-medium text-sm">{words.jobs.passedBy}</h2>
          <Facts facts={criteria} />
        </Card>
      </div>
    </>
  );
}

const FILTERS = [
  ["", words.jobs.allItems],
  ["pass", words.jobs.onlyPassed],
  ["fail", words.jobs.onlyFailed],
] as const;

interface ItemsProps {
  project: string;
  evalId: string;
  runId: string;
  isLive: boolean;
}

function Items({ project, evalId, runId, isLive }: ItemsProps) {
  const [status, setStatus] = useState<"" | "pass" | "fail">("");
  const found = useInfiniteQuery({
    ...outputItems(project, evalId, runId, status),
    refetchInterval: isLive ? LIVE_MS : CALM_MS,
  });
  const rows = found.data?.pages.flatMap(({ data }) => data) ?? [];
  return (
    <Section
      title={words.jobs.items}
      actions={<Select isInline label={words.jobs.show} value={status} options={FILTERS} onChange={setStatus} />}
    >
      <Loaded query={found}>
        {rows.length === 0 ? (
          <Empty>{words.jobs.noItems}</Empty>
        ) : (
          <Table
            label={words.jobs.items}
            rows={rows}
            keyOf={({ id }) => id}
            columns={[
              { title: words.jobs.item, cell: (each) => <Json value={each.datasource_item} /> },
              { title: words.jobs.answer, cell: (each) => <Answer item={each} /> },
              { title: words.jobs.grades, cell: (each) => <Grades item={each} /> },
              { title: words.jobs.state, cell: (each) => <Status of={each.status} /> },
            ]}
          />
        )}
        <More of={found} />
      </Loaded>
    </Section>
  );
}

function Json({ value }: { value: unknown }) {
  return (
    <pre className="max-h-40 min-w-40 max-w-80 overflow-auto whitespace-pre-wrap break-words font-mono text-xs">
      {JSON.stringify(value, null, 1)}
    </pre>
  );
}

function Answer({ item: { sample } }: { item: OutputItem }) {
  if (sample.error?.message) return <span className="text-danger">{sample.error.message}</span>;
  const texts = (sample.output ?? []).map(({ content }) =>
    typeof content === "string" ? content : JSON.stringify(content),
  );
  return (
    <p dir="auto" className="max-h-40 min-w-40 max-w-96 overflow-auto whitespace-pre-wrap break-words">
      {texts.join("\n")}
    </p>
  );
}

function Grades({ item: { results } }: { item: OutputItem }) {
  return results.map(({ name, score, passed }) => (
    <p key={name} className="whitespace-nowrap text-xs">
      {name}: {score === undefined ? words.none : format.decimal(score)}{" "}
      {passed === undefined ? "" : passed ? words.jobs.gradePassed : words.jobs.gradeFailed}
    </p>
  ));
}
