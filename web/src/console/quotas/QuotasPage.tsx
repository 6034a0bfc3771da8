import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { post } from "../../api/client";
import { Check } from "../../ui/Check";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { armList, SUBSCRIPTION } from "../data/arm";
import type { Quota } from "../data/deployments";
import { CALM_MS } from "../data/lists";
import { projectsQuery } from "../data/project";
import { FormDialog, OpenButton, textIn } from "../parts/FormDialog";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { Empty, Loaded, Page, Section } from "../parts/Page";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { Projects } from "./Projects";

export function QuotasPage() {
  const projects = useQuery(projectsQuery);
  return (
    <Page title={words.nav.quotas} lead={words.quotas.lead}>
      <Section title={words.quotas.projects} actions={<NewProject />}>
        <Loaded query={projects}>
          <Projects projects={projects.data ?? []} />
        </Loaded>
      </Section>
      <Quotas />
    </Page>
  );
}

function NewProject() {
  const create = (form: FormData) => post("v1/organization/projects", { name: textIn(form, "name") });
  return (
    <OpenButton look="primary" label={words.quotas.newProject} icon={<Icon name="plus" className="size-4" />}>
      {(close) => (
        <FormDialog title={words.quotas.newProject} submit={words.keys.create} onSubmit={create} onClose={close}>
          <Field label={words.keys.name} hint={words.quotas.projectHint} name="name" required maxLength={256} />
        </FormDialog>
      )}
    </OpenButton>
  );
}

/** There are many that nothing is deployed with: those are shown only if asked for. */
function Quotas() {
  const [isAll, setIsAll] = useState(false);
  const quotas = useQuery({
    queryKey: ["console", "quotas"],
    queryFn: ({ signal }) => armList<Quota>(`${SUBSCRIPTION}/locations/local/usages`, signal),
    refetchInterval: CALM_MS,
  });
  const rows = (quotas.data ?? []).filter(({ currentValue }) => isAll || currentValue > 0);
  return (
    <Section
      title={words.quotas.quotas}
      actions={<Check label={words.quotas.unused} isChecked={isAll} onChange={setIsAll} />}
    >
      <Loaded query={quotas}>
        {rows.length === 0 ? (
          <Empty>{words.quotas.none}</Empty>
        ) : (
          <Table
            label={words.quotas.quotas}
            rows={rows}
            keyOf={({ name }) => name.value}
            columns={[
              { title: words.quotas.quota, cell: ({ name }) => <span className="break-all">{name.value}</span> },
              {
                title: words.quotas.used,
                cell: ({ name, currentValue, limit }) => (
                  <Meter
                    isLimit
                    label={name.value}
                    value={currentValue}
                    most={limit}
                    text={words.quotas.units(format.whole(currentValue), format.whole(limit))}
                  />
                ),
              },
            ]}
          />
        )}
      </Loaded>
    </Section>
  );
}
