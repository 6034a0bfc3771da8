/** The terms of one blocklist. */

import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { type Account, accountsQuery, armDelete, armPut, below } from "../data/arm";
import { type BlocklistItem, itemsQuery } from "../data/policies";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { FormDialog, OpenButton, textIn } from "../parts/FormDialog";
import { Empty, Loaded, Page, Problem } from "../parts/Page";
import { Table } from "../parts/Table";
import { words } from "../strings";

export function BlocklistPage() {
  const { list = "" } = useParams({ strict: false });
  const project = useProject();
  const accounts = useQuery(accountsQuery);
  const account = accounts.data?.find(({ name }) => name === project);
  return (
    <Page
      title={list}
      lead={
        <Link to="/console/policies" className="text-accent hover:underline">
          {words.nav.policies}
        </Link>
      }
      actions={account && <NewItem account={account} list={list} />}
    >
      <Loaded query={accounts}>
        {account ? <Items account={account} list={list} /> : <Empty>{words.deployments.noAccount}</Empty>}
      </Loaded>
    </Page>
  );
}

interface Props {
  account: Account;
  list: string;
}

function pathOf(account: Account, list: string, item: string): string {
  return `${below(account, "raiBlocklists", list)}/raiBlocklistItems/${encodeURIComponent(item)}`;
}

function Items({ account, list }: Props) {
  const items = useQuery(itemsQuery(account, list));
  const drop = useChange((name: string) => armDelete(pathOf(account, list, name)));
  return (
    <>
      <Problem error={drop.error} />
      <Loaded query={items}>
        {items.data?.length === 0 ? (
          <Empty>{words.policies.noItems}</Empty>
        ) : (
          <Table
            label={words.policies.terms}
            rows={items.data ?? []}
            keyOf={({ id }) => id}
            columns={[
              {
                title: words.policies.term,
                cell: ({ properties }: BlocklistItem) => <code dir="auto">{properties.pattern}</code>,
              },
              {
                title: words.policies.kind,
                cell: ({ properties }) => (properties.isRegex ? words.policies.regex : words.policies.plain),
              },
              { title: words.policies.name, cell: ({ name }) => name },
              {
                title: words.actions,
                isQuiet: true,
                cell: ({ name, properties }) => (
                  <div className="flex justify-end">
                    <AskButton
                      label={words.policies.delete}
                      about={properties.pattern}
                      title={words.policies.deleteItemTitle}
                      text={words.policies.deleteItemText(properties.pattern)}
                      onConfirm={() => drop.mutate(name)}
                    />
                  </div>
                ),
              },
            ]}
          />
        )}
      </Loaded>
    </>
  );
}

function NewItem({ account, list }: Props) {
  const create = async (form: FormData) => {
    // Names of items are nobody's concern, and must only not be those of others.
    const name = `item-${Date.now().toString(36)}`;
    const properties = { pattern: textIn(form, "pattern"), isRegex: form.get("regex") === "on" };
    await armPut(pathOf(account, list, name), { properties });
  };
  return (
    <OpenButton look="primary" label={words.policies.newItem} icon={<Icon name="plus" className="size-4" />}>
      {(close) => (
        <FormDialog title={words.policies.newItem} submit={words.keys.create} onSubmit={create} onClose={close}>
          <Field label={words.policies.term} name="pattern" required maxLength={1000} spellCheck={false} dir="auto" />
          <label className="flex items-center gap-2 text-sm">
            <input type="checkbox" name="regex" className="size-4.5 accent-accent" />
            {words.policies.regex}
          </label>
        </FormDialog>
      )}
    </OpenButton>
  );
}
