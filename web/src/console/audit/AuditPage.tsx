import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useDeferredValue, useState } from "react";
import { get } from "../../api/client";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { namesOfKeys } from "../data/keys";
import { CALM_MS } from "../data/lists";
import { downloadCsv } from "../parts/csv";
import { format } from "../parts/format";
import { Empty, Loaded, Page } from "../parts/Page";
import { Select } from "../parts/Select";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { type Entry, has } from "./search";

const COUNTS = ["100", "1000"] as const;

export function AuditPage() {
  const [newest, setNewest] = useState<(typeof COUNTS)[number]>("100");
  const [search, setSearch] = useState("");
  const wanted = useDeferredValue(search);
  const audit = useQuery({
    queryKey: ["console", "audit", newest],
    queryFn: async ({ signal }) => (await get<{ data: Entry[] }>(`v1/x/audit?newest=${newest}`, signal)).data.reverse(),
    refetchInterval: CALM_MS,
    placeholderData: keepPreviousData,
  });
  const keyNames = useQuery(namesOfKeys);
  const nameOf = (actor: string) => keyNames.data?.get(actor) ?? actor;
  const rows = (audit.data ?? []).filter((entry) => has(entry, nameOf(entry.actor), wanted));
  return (
    <Page
      title={words.nav.audit}
      lead={words.audit.lead}
      actions={
        <Button look="outline" disabled={rows.length === 0} onClick={() => saveCsv(rows, nameOf)}>
          <Icon name="download" className="size-4" />
          {words.csv}
        </Button>
      }
    >
      <div className="flex flex-wrap items-end gap-x-5 gap-y-3">
        <div className="min-w-0 flex-1 basis-64">
          <Field
            type="search"
            label={words.audit.search}
            placeholder={words.audit.searchHint}
            value={search}
            onChange={(event) => setSearch(event.target.value)}
          />
        </div>
        <Select
          label={words.audit.newest}
          value={newest}
          options={COUNTS.map((each) => [each, words.audit.changes(Number(each))] as const)}
          onChange={setNewest}
        />
      </div>
      <Loaded query={audit}>
        {rows.length === 0 ? <Empty>{words.audit.none}</Empty> : <Entries rows={rows} nameOf={nameOf} />}
      </Loaded>
    </Page>
  );
}

function Entries({ rows, nameOf }: { rows: Entry[]; nameOf: (actor: string) => string }) {
  return (
    <Table
      label={words.nav.audit}
      rows={rows}
      keyOf={({ seq }) => seq}
      columns={[
        {
          title: words.chart.time,
          cell: ({ time }) => (
            <time
              dateTime={new Date(time * 1000).toISOString()}
              title={format.exact(time)}
              className="whitespace-nowrap"
            >
              {format.dateTime(time)}
            </time>
          ),
        },
        { title: words.audit.action, cell: ({ action }) => <code className="whitespace-nowrap">{action}</code> },
        {
          title: words.audit.subject,
          cell: ({ subject }) => <span className="block min-w-40 break-all">{nameOf(subject)}</span>,
        },
        {
          title: words.audit.actor,
          cell: ({ actor }) => <span className="block min-w-24 break-all">{nameOf(actor)}</span>,
        },
        { title: words.audit.detail, cell: (entry) => <Detail entry={entry} /> },
      ]}
    />
  );
}

function Detail({ entry: { detail, hash } }: { entry: Entry }) {
  return (
    <details>
      <summary className="w-fit cursor-pointer whitespace-nowrap rounded text-accent">{words.audit.show}</summary>
      <pre className="mt-1 min-w-64 max-w-lg whitespace-pre-wrap break-all font-mono text-xs">
        {JSON.stringify(detail, null, 2)}
        {"\n"}
        {words.audit.hash}: {hash}
      </pre>
    </details>
  );
}

function saveCsv(rows: Entry[], nameOf: (actor: string) => string): void {
  const lines = rows.map(({ seq, time, actor, action, subject, detail, hash }) => {
    const when = new Date(time * 1000).toISOString();
    return [seq, when, actor, nameOf(actor), action, subject, JSON.stringify(detail), hash];
  });
  downloadCsv("audit.csv", ["seq", "time", "actor", "actor_name", "action", "subject", "detail", "hash"], lines);
}
