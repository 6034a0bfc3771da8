import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { FIELD, Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { type Account, accountsQuery, armDelete, armPut, below } from "../data/arm";
import { type Blocklist, blocklistsQuery, type Policy, policiesQuery } from "../data/policies";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { FormDialog, OpenButton, textIn } from "../parts/FormDialog";
import { Empty, Loaded, Page, Problem, Section } from "../parts/Page";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { ExplainRequest } from "./ExplainRequest";
import { TryText } from "./TryText";

export function PoliciesPage() {
  const project = useProject();
  const accounts = useQuery(accountsQuery);
  const account = accounts.data?.find(({ name }) => name === project);
  return (
    <Page title={words.nav.policies} lead={words.policies.lead}>
      <Loaded query={accounts}>
        {account ? (
          <>
            <Policies account={account} />
            <Blocklists account={account} />
          </>
        ) : (
          <Empty>{words.deployments.noAccount}</Empty>
        )}
      </Loaded>
      <Section title={words.policies.tryTitle}>
        <TryText project={project} />
      </Section>
      <Section title={words.policies.explainTitle}>
        <ExplainRequest />
      </Section>
    </Page>
  );
}

function Policies({ account }: { account: Account }) {
  const policies = useQuery(policiesQuery(account));
  const drop = useChange((name: string) => armDelete(below(account, "raiPolicies", name)));
  return (
    <Section title={words.policies.policies} actions={<NewPolicy account={account} policies={policies.data ?? []} />}>
      <Problem error={drop.error} />
      <Loaded query={policies}>
        <Table
          label={words.policies.policies}
          rows={policies.data ?? []}
          keyOf={({ id }) => id}
          columns={[
            {
              title: words.policies.name,
              cell: ({ name }) => (
                <Link
                  to="/console/policies/$policy"
                  params={{ policy: name }}
                  className="break-all font-medium text-accent hover:underline"
                >
                  {name}
                </Link>
              ),
            },
            { title: words.policies.base, cell: ({ properties }) => properties.basePolicyName ?? words.none },
            {
              title: words.policies.mode,
              cell: ({ properties }) => words.policies.modes[properties.mode] ?? properties.mode,
            },
            {
              title: words.actions,
              isQuiet: true,
              cell: ({ name, properties }) =>
                properties.type !== "SystemManaged" && (
                  <div className="flex justify-end">
                    <AskButton
                      label={words.policies.delete}
                      about={name}
                      title={words.policies.deleteTitle}
                      text={words.policies.deleteText(name)}
                      onConfirm={() => drop.mutate(name)}
                    />
                  </div>
                ),
            },
          ]}
        />
      </Loaded>
    </Section>
  );
}

function NewPolicy({ account, policies }: { account: Account; policies: Policy[] }) {
  const navigate = useNavigate();
  const create = async (form: FormData) => {
    const name = textIn(form, "name");
    if (policies.some((each) => each.name === name)) throw new Error(words.policies.taken(name));
    const properties = { basePolicyName: textIn(form, "base"), mode: "Blocking", contentFilters: [] };
    await armPut(below(account, "raiPolicies", name), { properties });
    await navigate({ to: "/console/policies/$policy", params: { policy: name } });
  };
  return (
    <OpenButton look="primary" label={words.policies.new} icon={<Icon name="plus" className="size-4" />}>
      {(close) => (
        <FormDialog title={words.policies.new} submit={words.keys.create} onSubmit={create} onClose={close}>
          <Field label={words.policies.name} name="name" required maxLength={64} />
          <div className="flex flex-col gap-1.5">
            <label htmlFor="base" className="font-medium text-sm">
              {words.policies.base}
            </label>
            <select id="base" name="base" className={FIELD} defaultValue="Microsoft.DefaultV2">
              {policies.map(({ name }) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </div>
        </FormDialog>
      )}
    </OpenButton>
  );
}

function Blocklists({ account }: { account: Account }) {
  const lists = useQuery(blocklistsQuery(account));
  const drop = useChange((name: string) => armDelete(below(account, "raiBlocklists", name)));
  return (
    <Section title={words.policies.lists} actions={<NewList account={account} lists={lists.data ?? []} />}>
      <Problem error={drop.error} />
      <Loaded query={lists}>
        {lists.data?.length === 0 ? (
          <Empty>{words.policies.noLists}</Empty>
        ) : (
          <Table
            label={words.policies.lists}
            rows={lists.data ?? []}
            keyOf={({ id }) => id}
            columns={[
              {
                title: words.policies.name,
                cell: ({ name }) => (
                  <Link
                    to="/console/blocklists/$list"
                    params={{ list: name }}
                    className="break-all font-medium text-accent hover:underline"
                  >
                    {name}
                  </Link>
                ),
              },
              { title: words.policies.about, cell: ({ properties }) => properties.description },
              {
                title: words.actions,
                isQuiet: true,
                cell: ({ name }) => (
                  <div className="flex justify-end">
                    <AskButton
                      label={words.policies.delete}
                      about={name}
                      title={words.policies.deleteListTitle}
                      text={words.policies.deleteListText(name)}
                      onConfirm={() => drop.mutate(name)}
                    />
                  </div>
                ),
              },
            ]}
          />
        )}
      </Loaded>
    </Section>
  );
}

function NewList({ account, lists }: { account: Account; lists: Blocklist[] }) {
  const create = async (form: FormData) => {
    const name = textIn(form, "name");
    if (lists.some((each) => each.name === name)) throw new Error(words.policies.taken(name));
    await armPut(below(account, "raiBlocklists", name), { properties: { description: textIn(form, "about") } });
  };
  return (
    <OpenButton label={words.policies.newList} icon={<Icon name="plus" className="size-4" />}>
      {(close) => (
        <FormDialog title={words.policies.newList} submit={words.keys.create} onSubmit={create} onClose={close}>
          <Field label={words.policies.name} name="name" required maxLength={64} />
          <Field label={words.policies.about} name="about" maxLength={500} />
        </FormDialog>
      )}
    </OpenButton>
  );
}
