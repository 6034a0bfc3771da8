import { useQuery } from "@tanstack/react-query";
import { post, remove } from "../../api/client";
import type { ProjectServiceAccount } from "../../api/schemas";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { accountsOf, projectPath } from "../data/keys";
import { AskButton, useChange } from "../parts/Ask";
import { FormDialog, OpenButton, textIn } from "../parts/FormDialog";
import { format } from "../parts/format";
import { Empty, Loaded, Problem, Section } from "../parts/Page";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { Expiry, expiryIn } from "./Expiry";
import type { Secret } from "./Secret";

interface Props {
  project: string;
  onSecret: (secret: Secret) => void;
}

export function ServiceAccounts({ project, onSecret }: Props) {
  const folder = projectPath(project, "service_accounts");
  const accounts = useQuery(accountsOf(project));
  const drop = useChange((id: string) => remove(`${folder}/${id}`));
  const create = async (form: FormData) => {
    const body = { name: textIn(form, "name"), ...expiryIn(form) };
    const { api_key } = await post<{ api_key: Secret | null }>(folder, body);
    if (api_key) onSecret(api_key);
  };
  return (
    <Section
      title={words.keys.accounts}
      actions={
        accounts.data && (
          <OpenButton look="primary" label={words.keys.newAccount} icon={<Icon name="plus" className="size-4" />}>
            {(close) => (
              <FormDialog title={words.keys.newAccount} submit={words.keys.create} onSubmit={create} onClose={close}>
                <Field label={words.keys.name} hint={words.keys.accountHint} name="name" required maxLength={100} />
                <Expiry />
              </FormDialog>
            )}
          </OpenButton>
        )
      }
    >
      <Problem error={drop.error} />
      <Loaded query={accounts}>
        {accounts.data?.length === 0 ? (
          <Empty>{words.keys.noAccounts}</Empty>
        ) : (
          <Table
            label={words.keys.accounts}
            rows={accounts.data ?? []}
            keyOf={({ id }) => id}
            columns={[
              { title: words.keys.name, cell: ({ name }) => <span className="break-all font-medium">{name}</span> },
              { title: words.keys.role, cell: ({ role }) => words.keys.members[role] },
              { title: words.keys.created, cell: ({ created_at }) => format.dateTime(created_at) },
              {
                title: words.actions,
                isQuiet: true,
                cell: (account) => (
                  <Actions
                    account={account}
                    folder={folder}
                    onSecret={onSecret}
                    onDelete={() => drop.mutate(account.id)}
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

interface ActionsProps {
  account: ProjectServiceAccount;
  folder: string;
  onSecret: (secret: Secret) => void;
  onDelete: () => void;
}

function Actions({ account: { id, name, role }, folder, onSecret, onDelete }: ActionsProps) {
  const add = async (form: FormData) => {
    const given = textIn(form, "name");
    onSecret(await post<Secret>(`${folder}/${id}/api_keys`, given === "" ? {} : { name: given }));
  };
  return (
    <div className="flex justify-end gap-2">
      {role !== "none" && (
        <OpenButton label={words.keys.addKey} about={name}>
          {(close) => (
            <FormDialog title={words.keys.addKeyTo(name)} submit={words.keys.create} onSubmit={add} onClose={close}>
              <Field label={words.keys.name} hint={words.keys.keyHint} name="name" maxLength={100} />
            </FormDialog>
          )}
        </OpenButton>
      )}
      <AskButton
        label={words.keys.deleteAccount}
        about={name}
        title={words.keys.deleteAccountTitle}
        text={words.keys.deleteAccountText(name)}
        onConfirm={onDelete}
      />
    </div>
  );
}
