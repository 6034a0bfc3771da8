import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { remove } from "../../api/client";
import { accountsQuery } from "../data/arm";
import { type CatalogModel, catalogQuery } from "../data/deployments";
import { fineTuningJobs } from "../data/jobs";
import { inProject } from "../data/lists";
import { projectModels } from "../data/models";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { format } from "../parts/format";
import { Empty, Loaded, Page, Problem, Section } from "../parts/Page";
import { Status } from "../parts/Status";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { lineageOf, type Node } from "./lineage";

export function ModelsPage() {
  const project = useProject();
  const models = useQuery(projectModels(project));
  const drop = useChange((id: string) => remove(inProject(project, `models/${encodeURIComponent(id)}`)));
  return (
    <Page title={words.nav.models} lead={words.models.lead}>
      <Section title={words.models.lineage}>
        <Problem error={drop.error} />
        <Loaded query={models}>
          {models.data?.length === 0 ? (
            <Empty>{words.models.none}</Empty>
          ) : (
            <Tree nodes={lineageOf(models.data ?? [])} project={project} onDelete={drop.mutate} />
          )}
        </Loaded>
      </Section>
      <Catalog project={project} />
    </Page>
  );
}

interface TreeProps {
  nodes: Node[];
  project: string;
  onDelete: (id: string) => void;
  isBelow?: boolean;
}

/** The base, and on lines from it what was made of it. */
function Tree({ nodes, isBelow = false, ...rest }: TreeProps) {
  return (
    <ul className={isBelow ? "ms-4" : "flex flex-col gap-4"}>
      {nodes.map((node, at) => (
        <li key={node.model.id} className={isBelow ? "relative ps-5 pt-2" : ""}>
          {isBelow && (
            <>
              <span
                className={`absolute start-0 top-0 border-line-strong border-s ${at === nodes.length - 1 ? "h-8" : "h-full"}`}
              />
              <span className="absolute start-0 top-8 w-5 border-line-strong border-t" />
            </>
          )}
          <ModelCard node={node} isBelow={isBelow} {...rest} />
          {node.children.length > 0 && <Tree nodes={node.children} isBelow {...rest} />}
        </li>
      ))}
    </ul>
  );
}

function ModelCard({ node: { model }, project, isBelow = false, onDelete }: Omit<TreeProps, "nodes"> & { node: Node }) {
  const facts = [
    model.owned_by,
    words.models.context(format.whole(model.context_length)),
    words.models.created(format.dateTime(model.created)),
  ];
  return (
    <div className="flex flex-wrap items-center gap-x-3 gap-y-2 rounded-xl border border-line bg-raised px-4 py-2.5">
      <div className="min-w-0 flex-1 basis-60">
        <p className="break-all font-medium text-sm">{model.id}</p>
        <p className="text-soft text-xs">{facts.join(" · ")}</p>
      </div>
      <Status of={model.state} />
      {isBelow && <JobLink project={project} model={model.id} />}
      {model.owned_by === project && isBelow && (
        <AskButton
          label={words.models.delete}
          about={model.id}
          title={words.models.deleteTitle}
          text={words.models.deleteText(model.id)}
          onConfirm={() => onDelete(model.id)}
        />
      )}
    </div>
  );
}

/** To the job, if it is among the newest ones. */
function JobLink({ project, model }: { project: string; model: string }) {
  const jobs = useInfiniteQuery(fineTuningJobs(project));
  const job = jobs.data?.pages.flatMap(({ data }) => data).find((each) => isOf(model, each.fine_tuned_model));
  if (!job) return null;
  return (
    <Link
      to="/console/fine-tuning/$jobId"
      params={{ jobId: job.id }}
      className="rounded text-accent text-sm hover:underline"
    >
      {words.models.madeBy}
    </Link>
  );
}

/** A job's models of earlier epochs are called like its last one, and which step they are of. */
function isOf(model: string, made: string | null): boolean {
  return made !== null && (model === made || model.startsWith(`${made}:ckpt-`));
}

function Catalog({ project }: { project: string }) {
  const accounts = useQuery(accountsQuery);
  const account = accounts.data?.find(({ name }) => name === project);
  const catalog = useQuery(catalogQuery(account));
  if (accounts.data && !account) return null;
  return (
    <Section title={words.models.catalog}>
      <Loaded query={accounts.error ? accounts : catalog}>
        <Table
          label={words.models.catalog}
          rows={catalog.data ?? []}
          keyOf={({ name, version }) => `${name} ${version}`}
          columns={[
            { title: words.models.name, cell: ({ name }) => <span className="break-all font-medium">{name}</span> },
            {
              title: words.models.version,
              cell: ({ version, isDefaultVersion }) => (
                <>
                  <code className="text-xs">{version}</code> {isDefaultVersion && `(${words.models.newest})`}
                </>
              ),
            },
            { title: words.models.can, cell: (model) => canOf(model).join(", ") },
            {
              title: words.models.contextTitle,
              isNumber: true,
              cell: ({ capabilities }) => format.whole(Number(capabilities.maxContextToken ?? 0)),
            },
          ]}
        />
      </Loaded>
    </Section>
  );
}

function canOf({ capabilities }: CatalogModel): string[] {
  const can = Object.entries(capabilities).filter(([, value]) => value === "true");
  return can.map(([name]) => name.replaceAll(/([A-Z])/g, " $1").toLowerCase());
}
