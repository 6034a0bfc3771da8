import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Button } from "../../ui/Button";
import { Icon } from "../../ui/Icon";
import { TimeBars } from "../charts/TimeBars";
import { namesOfKeys } from "../data/keys";
import { projectsQuery } from "../data/project";
import {
  type CostResult,
  completionsQuery,
  costsQuery,
  embeddingsQuery,
  type Grouping,
  merged,
  type Span,
  type UsageResult,
  WIDTH_S,
  type Width,
} from "../data/usage";
import { downloadCsv } from "../parts/csv";
import { format } from "../parts/format";
import { Card, Loaded, Page, Problem, Section } from "../parts/Page";
import { Select } from "../parts/Select";
import { type Bucket, chartOf } from "../parts/series";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { type Row, rowsOf, totalsOf } from "./totals";

const DAY_S = WIDTH_S["1d"];
const RANGES = { "1": DAY_S, "7": 7 * DAY_S, "30": 30 * DAY_S, "90": 90 * DAY_S } as const;
type Range = keyof typeof RANGES;
/** Hours of more days than these are too many to be seen. */
const MOST_DAYS_OF_HOURS = 14;
const GROUPINGS: Grouping[] = ["model", "project_id", "api_key_id"];

function useChoice() {
  const [range, setRange] = useState<Range>("7");
  const [wanted, setWidth] = useState<Width>("1h");
  const [by, setBy] = useState<Grouping>("model");
  const [project, setProject] = useState("");
  const isLong = Number(range) > MOST_DAYS_OF_HOURS;
  const width: Width = isLong ? "1d" : range === "1" ? "1h" : wanted;
  const span: Span = { seconds: RANGES[range], width, by, project };
  return { range, setRange, width, setWidth, by, setBy, project, setProject, span };
}

export function UsagePage() {
  const choice = useChoice();
  const { by, width, span } = choice;
  const completions = useQuery(completionsQuery(span));
  const embeddings = useQuery(embeddingsQuery(span));
  // Costs are not told apart by model.
  const { by: _, ...plain } = span;
  const costs = useQuery(costsQuery(by === "model" ? plain : span));
  const keyNames = useQuery({ ...namesOfKeys, enabled: by === "api_key_id" });
  const nameOf = (result: UsageResult | CostResult) => {
    const id = ("model" in result && by === "model" ? result.model : by === "model" ? null : result[by]) ?? "";
    return (by === "api_key_id" && keyNames.data?.get(id)) || id || words.chart.unnamed;
  };
  const usage = merged(completions.data, embeddings.data);
  const rows = rowsOf(usage, nameOf);
  return (
    <Page
      title={words.nav.usage}
      lead={words.usage.lead}
      actions={
        <Button look="outline" disabled={rows.length === 0} onClick={() => saveCsv(rows, by, width)}>
          <Icon name="download" className="size-4" />
          {words.csv}
        </Button>
      }
    >
      <Choices {...choice} />
      <Loaded query={completions}>
        <Problem error={embeddings.error ?? costs.error ?? completions.error} />
        <Charts usage={usage} nameOf={nameOf} isDaily={width === "1d"} />
        <Costs costs={costs.data ?? []} nameOf={by === "model" ? () => words.chart.total : nameOf} width={width} />
        <Section title={words.usage.totals}>
          <Totals rows={rows} by={by} />
        </Section>
      </Loaded>
    </Page>
  );
}

function Choices({ range, setRange, width, setWidth, by, setBy, project, setProject }: ReturnType<typeof useChoice>) {
  const { data: projects = [] } = useQuery(projectsQuery);
  const ranges = (["1", "7", "30", "90"] as const).map((each) => [each, words.usage.ranges[each]] as const);
  const canBeHours = Number(range) <= MOST_DAYS_OF_HOURS;
  const widths = (["1h", "1d"] as const)
    .filter((each) => (each === "1h" ? canBeHours : range !== "1"))
    .map((each) => [each, words.usage.widths[each]] as const);
  return (
    <div className="flex flex-wrap items-end gap-x-5 gap-y-3">
      <Select label={words.usage.range} value={range} options={ranges} onChange={setRange} />
      <Select label={words.usage.width} value={width} options={widths} onChange={setWidth} />
      <Select
        label={words.usage.by}
        value={by}
        options={GROUPINGS.map((each) => [each, words.usage.groupings[each]] as const)}
        onChange={setBy}
      />
      {projects.length > 1 && (
        <Select
          label={words.nav.project}
          value={project}
          options={[["", words.usage.allProjects], ...projects.map(({ id, name }) => [id, name] as const)]}
          onChange={setProject}
        />
      )}
    </div>
  );
}

interface ChartsProps {
  usage: Bucket<UsageResult>[];
  nameOf: (result: UsageResult) => string;
  isDaily: boolean;
}

const FIGURES: [string, (result: UsageResult) => number][] = [
  [words.overview.requests, (each) => each.num_model_requests ?? 0],
  [words.overview.inputTokens, (each) => each.input_tokens ?? 0],
  [words.overview.outputTokens, (each) => each.output_tokens ?? 0],
];

function Charts({ usage, nameOf, isDaily }: ChartsProps) {
  return FIGURES.map(([title, amountOf]) => (
    <Section key={title} title={title}>
      <Card className="p-4">
        <TimeBars title={title} chart={chartOf(usage, nameOf, amountOf, words.chart.other)} isDaily={isDaily} isWhole />
      </Card>
    </Section>
  ));
}

interface CostsProps {
  costs: Bucket<CostResult>[];
  nameOf: (result: CostResult) => string;
  width: Width;
}

/** Where nothing has a price there is nothing to show. */
function Costs({ costs, nameOf, width }: CostsProps) {
  const chart = chartOf(costs, nameOf, ({ amount }) => amount.value, words.chart.other);
  if (chart.series.length === 0) return null;
  return (
    <Section title={words.overview.cost}>
      <Card className="p-4">
        <TimeBars
          title={words.overview.cost}
          chart={chart}
          isDaily={width === "1d"}
          brief={format.decimal}
          full={format.money}
        />
      </Card>
    </Section>
  );
}

function Totals({ rows, by }: { rows: Row[]; by: Grouping }) {
  return (
    <Table
      label={words.usage.totals}
      rows={totalsOf(rows)}
      keyOf={({ name }) => name}
      columns={[
        { title: words.usage.groupings[by], cell: ({ name }) => <span className="break-all">{name}</span> },
        { title: words.overview.requests, cell: ({ requests }) => format.whole(requests), isNumber: true },
        { title: words.overview.inputTokens, cell: ({ input }) => format.whole(input), isNumber: true },
        { title: words.usage.cached, cell: ({ cached }) => format.whole(cached), isNumber: true },
        { title: words.overview.outputTokens, cell: ({ output }) => format.whole(output), isNumber: true },
      ]}
    />
  );
}

function saveCsv(rows: Row[], by: Grouping, width: Width): void {
  const titles = ["start", "end", by, "requests", "input_tokens", "input_cached_tokens", "output_tokens"];
  const lines = rows.map(({ start, end, name, requests, input, cached, output }) => {
    const times = [start, end].map((unixS) => new Date(unixS * 1000).toISOString());
    return [...times, name, requests, input, cached, output];
  });
  downloadCsv(`usage-by-${by}-${width}.csv`, titles, lines);
}
