/** Projects, and what each of them may cost and has cost. */

import { queryOptions, useQuery } from "@tanstack/react-query";
import { ApiError, get, post, remove } from "../../api/client";
import type { OrganizationProject } from "../../api/schemas";
import { strings } from "../../strings";
import { Field } from "../../ui/Field";
import { projectPath } from "../data/keys";
import { CALM_MS } from "../data/lists";
import { costsQuery, sum, WIDTH_S } from "../data/usage";
import { AskButton, useChange } from "../parts/Ask";
import { FormDialog, OpenButton, textIn } from "../parts/FormDialog";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { Problem } from "../parts/Page";
import { Status } from "../parts/Status";
import { Table } from "../parts/Table";
import { words } from "../strings";

interface SpendLimit {
  /** Hundredths. */
  threshold_amount: number;
  enforcement: { status: "inactive" | "enforcing" };
}

/** Null: there is none. */
function budgetQuery(project: string) {
  return queryOptions({
    queryKey: ["console", "budget", project],
    queryFn: ({ signal }) =>
      get<SpendLimit>(projectPath(project, "spend_limit"), signal).catch((error: unknown) => {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error;
      }),
    refetchInterval: CALM_MS,
  });
}

export function Projects({ projects }: { projects: OrganizationProject[] }) {
  const archive = useChange((id: string) => post(projectPath(id, "archive")));
  const costs = useQuery(costsQuery({ seconds: secondsOfMonth(new Date()), width: "1d", by: "project_id" }));
  const spentBy = (project: string) =>
    costs.data && sum(costs.data, ({ project_id, amount }) => (project_id === project ? amount.value : 0));
  return (
    <>
      <Problem error={archive.error ?? costs.error} />
      <Table
        label={words.quotas.projects}
        rows={projects}
        keyOf={({ id }) => id}
        columns={[
          {
            title: words.nav.project,
            cell: ({ id, name }) => (
              <>
                <span className="font-medium">{name}</span>
                {name !== id && <p className="text-soft text-xs">{id}</p>}
              </>
            ),
          },
          { title: words.jobs.state, cell: ({ status }) => <Status of={status} /> },
          { title: words.quotas.month, cell: ({ id }) => <Spent project={id} spent={spentBy(id)} /> },
          {
            title: words.actions,
            isQuiet: true,
            cell: (project) => <Actions project={project} onArchive={() => archive.mutate(project.id)} />,
          },
        ]}
      />
    </>
  );
}

/** This month is the one of UTC, as the server counts it. */
function secondsOfMonth(now: Date): number {
  const start = Date.UTC(now.getUTCFullYear(), now.getUTCMonth());
  const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
  return (today - start) / 1000 + WIDTH_S["1d"];
}

function Spent({ project, spent }: { project: string; spent: number | undefined }) {
  const budget = useQuery(budgetQuery(project));
  if (budget.error) return <Problem error={budget.error} />;
  if (spent === undefined || budget.data === undefined) return words.none;
  if (budget.data === null) return words.quotas.noBudget(format.money(spent));
  const most = budget.data.threshold_amount / 100;
  const text = words.quotas.spent(format.money(spent), format.money(most));
  return (
    <>
      <Meter isLimit label={`${words.quotas.month}: ${project}`} value={spent} most={most} text={text} />
      {budget.data.enforcement.status === "enforcing" && (
        <p className="text-danger text-xs">{words.quotas.enforcing}</p>
      )}
    </>
  );
}

function Actions({
  project: { id, name, status },
  onArchive,
}: {
  project: OrganizationProject;
  onArchive: () => void;
}) {
  if (status === "archived") return null;
  const rename = (form: FormData) => post(projectPath(id, "").replace(/\/$/, ""), { name: textIn(form, "name") });
  return (
    <div className="flex flex-wrap justify-end gap-2">
      <Budget project={id} />
      <OpenButton label={words.quotas.rename} about={name}>
        {(close) => (
          <FormDialog
            title={words.quotas.renameTitle(name)}
            submit={strings.actions.save}
            onSubmit={rename}
            onClose={close}
          >
            <Field
              label={words.keys.name}
              hint={words.quotas.renameHint}
              name="name"
              required
              maxLength={256}
              defaultValue={name}
            />
          </FormDialog>
        )}
      </OpenButton>
      <AskButton
        label={words.quotas.archive}
        about={name}
        title={words.quotas.archiveTitle}
        text={words.quotas.archiveText(name)}
        onConfirm={onArchive}
      />
    </div>
  );
}

function Budget({ project }: { project: string }) {
  const budget = useQuery(budgetQuery(project));
  const path = projectPath(project, "spend_limit");
  const save = (form: FormData) => {
    const amount = textIn(form, "amount");
    if (amount === "") return budget.data ? remove(path) : Promise.resolve();
    const body = { threshold_amount: Math.round(Number(amount) * 100), currency: "USD", interval: "month" };
    return post(path, body);
  };
  return (
    <OpenButton label={words.quotas.budget} about={project} isDisabled={budget.data === undefined}>
      {(close) => (
        <FormDialog
          title={words.quotas.budgetTitle(project)}
          submit={strings.actions.save}
          onSubmit={save}
          onClose={close}
        >
          <Field
            type="number"
            label={words.quotas.amount}
            hint={words.quotas.amountHint}
            name="amount"
            min={0.01}
            step={0.01}
            defaultValue={budget.data ? budget.data.threshold_amount / 100 : ""}
          />
        </FormDialog>
      )}
    </OpenButton>
  );
}
