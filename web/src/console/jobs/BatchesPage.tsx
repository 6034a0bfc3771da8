import { useInfiniteQuery } from "@tanstack/react-query";
import { post, send } from "../../api/client";
import { Button } from "../../ui/Button";
import { download } from "../../ui/download";
import { Icon } from "../../ui/Icon";
import { type Batch, batches, batchPath } from "../data/jobs";
import { inProject, LIVE_MS } from "../data/lists";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { More } from "../parts/More";
import { Empty, Loaded, Page, Problem } from "../parts/Page";
import { Status } from "../parts/Status";
import { isBusy } from "../parts/states";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { NewBatch } from "./BatchForm";

interface Wanted {
  file: string;
  name: string;
}

export function BatchesPage() {
  const project = useProject();
  const found = useInfiniteQuery({ ...batches(project), refetchInterval: LIVE_MS });
  const cancel = useChange((id: string) => post(`${batchPath(project, id)}/cancel`));
  const save = useChange(async ({ file, name }: Wanted) => {
    const response = await send("GET", inProject(project, `files/${file}/content`));
    download(name, await response.blob());
  });
  const rows = found.data?.pages.flatMap(({ data }) => data) ?? [];
  return (
    <Page title={words.nav.batches} lead={words.jobs.batchesLead} actions={<NewBatch />}>
      <Problem error={cancel.error ?? save.error} />
      <Loaded query={found}>
        {rows.length === 0 ? (
          <Empty>{words.jobs.noBatches}</Empty>
        ) : (
          <Table
            label={words.nav.batches}
            rows={rows}
            keyOf={({ id }) => id}
            columns={[
              { title: words.jobs.batch, cell: (batch) => <Named batch={batch} /> },
              { title: words.jobs.state, cell: (batch) => <State batch={batch} /> },
              { title: words.jobs.progress, cell: (batch) => <Counts batch={batch} /> },
              {
                title: words.jobs.tokens,
                isNumber: true,
                cell: ({ usage }) => format.whole(usage.input_tokens + usage.output_tokens),
              },
              {
                title: words.jobs.created,
                cell: ({ created_at }) => <span className="whitespace-nowrap">{format.dateTime(created_at)}</span>,
              },
              {
                title: words.actions,
                isQuiet: true,
                cell: (batch) => (
                  <Actions batch={batch} onSave={save.mutate} onCancel={() => cancel.mutate(batch.id)} />
                ),
              },
            ]}
          />
        )}
        <More of={found} />
      </Loaded>
    </Page>
  );
}

function Named({ batch: { id, endpoint, model } }: { batch: Batch }) {
  return (
    <>
      <code className="text-xs">{id}</code>
      <p className="text-soft text-xs">
        {endpoint} {model && `· ${model}`}
      </p>
    </>
  );
}

function State({ batch: { status, errors } }: { batch: Batch }) {
  return (
    <>
      <Status of={status} />
      {errors?.data.slice(0, 3).map(({ message, line }) => (
        <p key={`${line} ${message}`} className="mt-1 max-w-64 text-danger text-xs">
          {line === null ? message : words.jobs.line(line, message)}
        </p>
      ))}
    </>
  );
}

function Counts({ batch: { id, request_counts: counts } }: { batch: Batch }) {
  const { total, completed, failed } = counts;
  return (
    <>
      <Meter label={id} value={completed + failed} most={total} text={words.jobs.requests(completed, total)} />
      {failed > 0 && <p className="text-danger text-xs">{words.jobs.failed(failed)}</p>}
    </>
  );
}

interface ActionsProps {
  batch: Batch;
  onSave: (wanted: Wanted) => void;
  onCancel: () => void;
}

function Actions({ batch: { id, status, output_file_id, error_file_id }, onSave, onCancel }: ActionsProps) {
  return (
    <div className="flex flex-wrap justify-end gap-2">
      {output_file_id && (
        <Button
          look="outline"
          aria-label={`${words.jobs.output}: ${id}`}
          onClick={() => onSave({ file: output_file_id, name: `${id}_output.jsonl` })}
        >
          <Icon name="download" className="size-4" />
          {words.jobs.output}
        </Button>
      )}
      {error_file_id && (
        <Button
          look="outline"
          aria-label={`${words.jobs.errors}: ${id}`}
          onClick={() => onSave({ file: error_file_id, name: `${id}_errors.jsonl` })}
        >
          <Icon name="download" className="size-4" />
          {words.jobs.errors}
        </Button>
      )}
      {isBusy(status) && status !== "cancelling" && (
        <AskButton
          label={words.jobs.cancel}
          about={id}
          title={words.jobs.cancelBatchTitle}
          text={words.jobs.cancelBatchText}
          onConfirm={onCancel}
        />
      )}
    </div>
  );
}
