/** One policy: which filters look, from which severity on, and whether they block. */

import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { strings } from "../../strings";
import { Button } from "../../ui/Button";
import { type Account, accountsQuery, armPut, below } from "../data/arm";
import {
  blocklistsQuery,
  filterKindsQuery,
  type Policy,
  type PolicyProperties,
  policiesQuery,
  type Source,
} from "../data/policies";
import { useProject } from "../data/project";
import { useChange } from "../parts/Ask";
import { Empty, Loaded, Page, Problem, Section } from "../parts/Page";
import { Select } from "../parts/Select";
import { words } from "../strings";
import { Rules } from "./Rules";
import { bodyOf, filterOf, keyOf, listUse, overridesOf, type Rule, rulesOf, withUse } from "./rules";

export function PolicyPage() {
  const { policy: name = "" } = useParams({ strict: false });
  const project = useProject();
  const accounts = useQuery(accountsQuery);
  const account = accounts.data?.find((each) => each.name === project);
  const policies = useQuery(policiesQuery(account));
  const policy = policies.data?.find((each) => each.name === name);
  return (
    <Page
      title={name}
      lead={
        <Link to="/console/policies" className="text-accent hover:underline">
          {words.nav.policies}
        </Link>
      }
    >
      <Loaded query={accounts.error ? accounts : policies}>
        {account && policy ? (
          <Editor key={policy.id} account={account} policy={policy} policies={policies.data ?? []} />
        ) : (
          <Empty>{words.policies.gone}</Empty>
        )}
      </Loaded>
    </Page>
  );
}

interface Props {
  account: Account;
  policy: Policy;
  policies: Policy[];
}

function Editor({ account, policy, policies }: Props) {
  const [properties, setProperties] = useState(policy.properties);
  const [own, setOwn] = useState(() => overridesOf(policy.properties));
  const kinds = useQuery(filterKindsQuery);
  const save = useChange(() => armPut(below(account, "raiPolicies", policy.name), bodyOf(properties, own)));
  const isFixed = policy.properties.type === "SystemManaged";
  const others = policies.filter(({ name }) => name !== policy.name);

  const change = (rule: Rule) => setOwn((before) => new Map(before).set(keyOf(rule), filterOf(rule)));
  const set = (some: Partial<PolicyProperties>) => setProperties((before) => ({ ...before, ...some }));
  return (
    <>
      <div className="flex flex-wrap items-end gap-x-5 gap-y-3">
        {isFixed ? (
          <p className="text-soft text-sm">{words.policies.fixed}</p>
        ) : (
          <>
            <Select
              label={words.policies.base}
              value={properties.basePolicyName ?? ""}
              options={[["", words.policies.noBase], ...others.map(({ name }) => [name, name] as const)]}
              onChange={(base) => set({ basePolicyName: base || null })}
            />
            <Select
              label={words.policies.mode}
              value={properties.mode}
              options={Object.entries(words.policies.modes)}
              onChange={(mode) => set({ mode })}
            />
          </>
        )}
      </div>
      <Loaded query={kinds}>
        <Section title={words.policies.filters}>
          <Rules
            rules={rulesOf(kinds.data ?? [], own, properties.basePolicyName, others)}
            isFixed={isFixed}
            onChange={change}
          />
        </Section>
      </Loaded>
      {!isFixed && (
        <>
          <ListUses account={account} properties={properties} onChange={set} />
          <div className="sticky bottom-0 flex flex-wrap items-center justify-end gap-3 border-line border-t bg-page py-3">
            <Problem error={save.error} />
            <p role="status" className="text-good text-sm">
              {save.isSuccess && words.policies.saved}
            </p>
            <Button look="primary" disabled={save.isPending} onClick={() => save.mutate(undefined)}>
              {strings.actions.save}
            </Button>
          </div>
        </>
      )}
    </>
  );
}

interface UsesProps {
  account: Account;
  properties: PolicyProperties;
  onChange: (some: Partial<PolicyProperties>) => void;
}

const DIRECTIONS = [
  ["Prompt", "promptBlocklists"],
  ["Completion", "completionBlocklists"],
] as const satisfies readonly (readonly [Source, keyof PolicyProperties])[];

function ListUses({ account, properties, onChange }: UsesProps) {
  const lists = useQuery(blocklistsQuery(account));
  if (!lists.data?.length) return <Problem error={lists.error} />;
  return (
    <Section title={words.policies.lists}>
      <ul className="flex flex-col gap-2">
        {lists.data.map(({ name }) => (
          <li
            key={name}
            className="flex flex-wrap items-center gap-x-5 gap-y-2 rounded-xl border border-line bg-raised px-4 py-2.5"
          >
            <span className="min-w-0 flex-1 basis-40 break-all font-medium text-sm">{name}</span>
            {DIRECTIONS.map(([source, field]) => (
              <Select
                key={source}
                isInline
                label={words.policies.sources[source]}
                value={listUse(properties[field], name)}
                options={words.policies.uses}
                onChange={(use) => onChange({ [field]: withUse(properties[field], name, use) })}
              />
            ))}
          </li>
        ))}
      </ul>
    </Section>
  );
}
