/** Why the filters did what they did with a request. */

import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { get } from "../../api/client";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import type { Hit, RequestRecord } from "../data/policies";
import { format } from "../parts/format";
import { Card, Problem } from "../parts/Page";
import { Facts, Table } from "../parts/Table";
import { words } from "../strings";

export function ExplainRequest() {
  const [id, setId] = useState("");
  const ask = useMutation({
    mutationFn: async (wanted: string) =>
      (await get<{ data: RequestRecord[] }>(`v1/x/requests/${encodeURIComponent(wanted)}`)).data,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    ask.mutate(id.trim());
  };
  return (
    <Card className="p-4">
      <form onSubmit={submit} className="flex flex-col gap-3">
        <Field
          label={words.policies.requestId}
          hint={words.policies.requestHint}
          required
          minLength={8}
          maxLength={64}
          spellCheck={false}
          value={id}
          onChange={(event) => setId(event.target.value)}
        />
        <Button look="primary" type="submit" className="self-start" disabled={id.trim().length < 8 || ask.isPending}>
          {words.policies.explain}
        </Button>
      </form>
      <div aria-live="polite" className="mt-4 flex flex-col gap-5 empty:hidden">
        <Problem error={ask.error} />
        {ask.data?.map((record) => (
          <Explained key={`${record.id} ${record.deployment}`} record={record} />
        ))}
      </div>
    </Card>
  );
}

function Explained({
  record: { id, started, project, deployment, outcome, filtered, hits },
}: {
  record: RequestRecord;
}) {
  return (
    <>
      <Facts
        facts={[
          [words.policies.request, <code key="id">{id}</code>],
          [words.chart.time, format.dateTime(started)],
          [words.policies.deployment, `${project} / ${deployment}`],
          [words.policies.outcome, outcome],
          [words.policies.blocked, filtered || words.policies.notBlocked],
        ]}
      />
      {hits.length > 0 && <Table label={words.policies.hits} rows={hits} keyOf={nameOf} columns={COLUMNS} />}
    </>
  );
}

function nameOf({ category, where, matched, blocklist }: Hit): string {
  return [category, where, matched, blocklist].join(" ");
}

const COLUMNS = [
  {
    title: words.policies.filter,
    cell: ({ category, blocklist }: Hit) => (blocklist ? `${category}: ${blocklist}` : category),
  },
  { title: words.policies.severity, cell: ({ severity }: Hit) => severity ?? words.none },
  { title: words.policies.score, cell: ({ score = 1 }: Hit) => format.decimal(score), isNumber: true },
  { title: words.policies.threshold, cell: ({ threshold = words.none }: Hit) => String(threshold) },
  { title: words.policies.reason, cell: ({ matched }: Hit) => <q dir="auto">{matched}</q> },
  { title: words.policies.blocks, cell: ({ blocking }: Hit) => (blocking ? words.policies.yes : words.policies.no) },
];
