/** How fast models answer and how busy they are, since the server was started: what Prometheus is told. */

import { useQuery } from "@tanstack/react-query";
import { send } from "../../api/client";
import { LIVE_MS } from "../data/lists";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { Empty, Loaded, Page, Section, Tile } from "../parts/Page";
import { type Column, Table } from "../parts/Table";
import { words } from "../strings";
import { type Histogram, histogramsOf, quantile, type Sample, samplesOf, sumsOf } from "./metrics";

export function HealthPage() {
  const metrics = useQuery({
    queryKey: ["console", "metrics"],
    queryFn: async ({ signal }) => samplesOf(await (await send("GET", "metrics", { signal })).text()),
    refetchInterval: LIVE_MS,
  });
  const samples = metrics.data ?? [];
  return (
    <Page title={words.nav.health} lead={words.health.lead}>
      <Loaded query={metrics}>
        <Requests samples={samples} />
        <Section title={words.health.engines}>
          <Engines samples={samples} />
        </Section>
        {LATENCIES.map(({ name, title }) => (
          <Section key={name} title={title}>
            <Latency title={title} histograms={histogramsOf(samples, name, "model")} />
          </Section>
        ))}
      </Loaded>
    </Page>
  );
}

const LATENCIES = [
  { name: "mainspring_time_to_first_token_seconds", title: words.health.firstToken },
  { name: "mainspring_time_per_output_token_seconds", title: words.health.perToken },
  { name: "mainspring_e2e_request_latency_seconds", title: words.health.whole },
];

function Requests({ samples }: { samples: Sample[] }) {
  const answered = [...sumsOf(samples, "mainspring_http_requests_total", "status")];
  const count = (first: string) =>
    answered.reduce((sum, [status, value]) => sum + (status.startsWith(first) ? value : 0), 0);
  const inFlight = samples.find(({ name }) => name === "mainspring_http_requests_in_flight")?.value ?? 0;
  const tiles: [string, number][] = [
    [words.health.inFlight, inFlight],
    [words.health.answered, count("2") + count("3")],
    [words.health.refused, count("4")],
    [words.health.failed, count("5")],
  ];
  return (
    <div className="grid grid-cols-2 gap-3 lg:grid-cols-4">
      {tiles.map(([label, value]) => (
        <Tile key={label} label={label}>
          {format.whole(value)}
        </Tile>
      ))}
    </div>
  );
}

function Engines({ samples }: { samples: Sample[] }) {
  const room = sumsOf(samples, "mainspring_kv_tokens", "model");
  const of = (name: string) => sumsOf(samples, name, "model");
  const [used, running, waiting, busy] = [
    of("mainspring_kv_tokens_used"),
    of("mainspring_requests_running"),
    of("mainspring_requests_waiting"),
    of("mainspring_engine_busy_seconds_total"),
  ];
  if (room.size === 0) return <Empty>{words.health.noEngines}</Empty>;
  const number = (values: Map<string, number> | undefined, show: (value: number) => string) => (model: string) =>
    show(values?.get(model) ?? 0);
  return (
    <Table
      label={words.health.engines}
      rows={[...room.keys()]}
      keyOf={(model) => model}
      columns={[
        { title: words.health.model, cell: (model) => <span className="break-all font-medium">{model}</span> },
        { title: words.health.running, cell: number(running, format.whole), isNumber: true },
        { title: words.health.waiting, cell: number(waiting, format.whole), isNumber: true },
        { title: words.health.busy, cell: number(busy, format.seconds), isNumber: true },
        {
          title: words.health.cache,
          cell: (model) => {
            const [held, most] = [used?.get(model) ?? 0, room.get(model) ?? 0];
            const text = words.quotas.of(format.whole(held), format.whole(most));
            return <Meter label={`${words.health.cache}: ${model}`} value={held} most={most} text={text} />;
          },
        },
      ]}
    />
  );
}

const SHARES = [0.5, 0.9, 0.99];

/** Bars as long as the values are, the slowest of all of them being the whole width. */
function Latency({ title, histograms }: { title: string; histograms: Map<string, Histogram> }) {
  const rows = [...histograms].filter(([model, { count }]) => model !== "" && count > 0);
  const slowest = Math.max(...rows.map(([, histogram]) => quantile(histogram, 0.99) ?? 0));
  if (rows.length === 0) return <Empty>{words.health.noRequests}</Empty>;
  const columns: Column<(typeof rows)[number]>[] = SHARES.map((share) => ({
    title: words.health.share(share),
    cell: ([model, histogram]) => {
      const value = quantile(histogram, share) ?? 0;
      const label = `${title}, ${words.health.share(share)}: ${model}`;
      return <Meter label={label} value={value} most={slowest} text={format.seconds(value)} />;
    },
  }));
  return (
    <Table
      label={title}
      rows={rows}
      keyOf={([model]) => model}
      columns={[
        { title: words.health.model, cell: ([model]) => <span className="break-all font-medium">{model}</span> },
        { title: words.overview.requests, cell: ([, { count }]) => format.whole(count), isNumber: true },
        ...columns,
      ]}
    />
  );
}
