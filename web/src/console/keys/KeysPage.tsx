import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { remove } from "../../api/client";
import { accountsQuery, armPost, below } from "../data/arm";
import { type Key, keysQuery, projectPath, rolesQuery } from "../data/keys";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { format } from "../parts/format";
import { Empty, Loaded, Page, Problem, Section } from "../parts/Page";
import { type Column, Table } from "../parts/Table";
import { words } from "../strings";
import { AdminKeys } from "./AdminKeys";
import { type Secret, SecretDialog } from "./Secret";
import { ServiceAccounts } from "./ServiceAccounts";

export function KeysPage() {
  const [secret, setSecret] = useState<Secret | null>(null);
  const project = useProject();
  return (
    <Page title={words.nav.keys} lead={words.keys.lead}>
      {secret && <SecretDialog secret={secret} onClose={() => setSecret(null)} />}
      <Section title={words.keys.ofProject(project)}>
        <ProjectKeys project={project} onSecret={setSecret} />
      </Section>
      <ServiceAccounts project={project} onSecret={setSecret} />
      <AdminKeys onSecret={setSecret} />
      <Section title={words.keys.roles}>
        <Roles />
      </Section>
    </Page>
  );
}

/** What tables of keys begin with. */
export const KEY_COLUMNS: Column<Key>[] = [
  { title: words.keys.name, cell: ({ name }) => <span className="break-all font-medium">{name}</span> },
  { title: words.keys.begins, cell: ({ redacted_value }) => <code className="text-xs">{redacted_value}</code> },
  { title: words.keys.created, cell: ({ created_at }) => <Time unixS={created_at} /> },
  { title: words.keys.used, cell: ({ last_used_at }) => <Time unixS={last_used_at} /> },
  { title: words.keys.expires, cell: ({ expires_at }) => <Time unixS={expires_at} /> },
];

function Time({ unixS }: { unixS: number | null }) {
  return <span className="whitespace-nowrap">{unixS === null ? words.never : format.dateTime(unixS)}</span>;
}

interface Props {
  project: string;
  onSecret: (secret: Secret) => void;
}

function ProjectKeys({ project, onSecret }: Props) {
  const keys = useQuery(keysQuery(project));
  const revoke = useChange((id: string) => remove(projectPath(project, `api_keys/${id}`)));
  return (
    <>
      <Problem error={revoke.error} />
      <Loaded query={keys}>
        {keys.data?.length === 0 ? (
          <Empty>{words.keys.none}</Empty>
        ) : (
          <Table
            label={words.keys.ofProject(project)}
            rows={keys.data ?? []}
            keyOf={({ id }) => id}
            columns={[
              ...KEY_COLUMNS,
              { title: words.keys.owner, cell: ({ owner }) => owner.service_account?.name ?? owner.name ?? words.none },
              {
                title: words.actions,
                isQuiet: true,
                cell: (key) => (
                  <KeyActions row={key} project={project} onSecret={onSecret} onRevoke={() => revoke.mutate(key.id)} />
                ),
              },
            ]}
          />
        )}
      </Loaded>
    </>
  );
}

/** A project's own two keys are replaced, a service account's go with it; others can be revoked. */
function KeyActions({ row, project, onSecret, onRevoke }: Props & { row: Key; onRevoke: () => void }) {
  const slot = (["key1", "key2"] as const).find((each) => row.name === `${project}/${each}`);
  if (row.owner.service_account) return null;
  if (slot) return <Replace project={project} slot={slot} name={row.name} onSecret={onSecret} />;
  return (
    <div className="flex justify-end">
      <AskButton
        label={words.keys.revoke}
        about={row.name}
        title={words.keys.revokeTitle}
        text={words.keys.revokeText(row.name)}
        onConfirm={onRevoke}
      />
    </div>
  );
}

function Replace({ project, slot, name, onSecret }: Props & { slot: "key1" | "key2"; name: string }) {
  const accounts = useQuery(accountsQuery);
  const account = accounts.data?.find((each) => each.name === project);
  const replace = useChange(async () => {
    if (!account) throw new Error(words.keys.noAccount);
    const keyName = slot === "key1" ? "Key1" : "Key2";
    const made = await armPost<{ key1: string; key2: string }>(below(account, "regenerateKey"), { keyName });
    onSecret({ name, value: made[slot] });
  });
  return (
    <div className="flex flex-col items-end gap-2">
      <AskButton
        label={words.keys.replace}
        about={name}
        title={words.keys.replaceTitle}
        text={words.keys.replaceText(name)}
        isDisabled={!account || replace.isPending}
        onConfirm={() => replace.mutate(undefined)}
      />
      <Problem error={replace.error} />
    </div>
  );
}

function Roles() {
  const roles = useQuery(rolesQuery);
  return (
    <Loaded query={roles}>
      <Table
        label={words.keys.roles}
        rows={roles.data ?? []}
        keyOf={({ id }) => id}
        columns={[
          {
            title: words.keys.role,
            cell: ({ name, description }) => (
              <>
                <span className="font-medium">{name}</span>
                <p className="text-soft text-xs">{description}</p>
              </>
            ),
          },
          {
            title: words.keys.permissions,
            cell: ({ permissions }) => (
              <ul className="flex min-w-60 flex-wrap gap-1">
                {permissions.map((permission) => (
                  <li key={permission} className="rounded bg-hover px-1.5 py-0.5 font-mono text-xs">
                    {permission}
                  </li>
                ))}
              </ul>
            ),
          },
        ]}
      />
    </Loaded>
  );
}
