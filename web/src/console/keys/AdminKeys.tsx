import { useQuery } from "@tanstack/react-query";
import { ApiError, post, remove } from "../../api/client";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { adminKeysQuery } from "../data/keys";
import { AskButton, useChange } from "../parts/Ask";
import { FormDialog, OpenButton, textIn } from "../parts/FormDialog";
import { Loaded, Problem, Section } from "../parts/Page";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { Expiry, expiryIn } from "./Expiry";
import { KEY_COLUMNS } from "./KeysPage";
import type { Secret } from "./Secret";

const FOLDER = "v1/organization/admin_api_keys";

/** Whoever may not see these is not told that there are any. */
export function AdminKeys({ onSecret }: { onSecret: (secret: Secret) => void }) {
  const keys = useQuery(adminKeysQuery);
  const revoke = useChange((id: string) => remove(`${FOLDER}/${id}`));
  const create = async (form: FormData) => {
    onSecret(await post<Secret>(FOLDER, { name: textIn(form, "name"), ...expiryIn(form) }));
  };
  if (keys.error instanceof ApiError && keys.error.status === 403) return null;
  return (
    <Section
      title={words.keys.admins}
      actions={
        <OpenButton label={words.keys.newAdmin} icon={<Icon name="plus" className="size-4" />}>
          {(close) => (
            <FormDialog title={words.keys.newAdmin} submit={words.keys.create} onSubmit={create} onClose={close}>
              <p className="text-soft text-sm">{words.keys.adminText}</p>
              <Field label={words.keys.name} hint={words.keys.uniqueHint} name="name" required maxLength={100} />
              <Expiry />
            </FormDialog>
          )}
        </OpenButton>
      }
    >
      <Problem error={revoke.error} />
      <Loaded query={keys}>
        <Table
          label={words.keys.admins}
          rows={keys.data ?? []}
          keyOf={({ id }) => id}
          columns={[
            ...KEY_COLUMNS,
            {
              title: words.actions,
              isQuiet: true,
              cell: ({ id, name }) => (
                <div className="flex justify-end">
                  <AskButton
                    label={words.keys.revoke}
                    about={name}
                    title={words.keys.revokeTitle}
                    text={words.keys.revokeText(name)}
                    onConfirm={() => revoke.mutate(id)}
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
