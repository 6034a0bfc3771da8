/** Makes evaluations, and runs of them. */

import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { post } from "../../api/client";
import { Field, TextField } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { type Eval, type EvalRun, evalPath } from "../data/jobs";
import { inProject } from "../data/lists";
import { textModels } from "../data/models";
import { useProject } from "../data/project";
import { Choice } from "../parts/Choice";
import { FormDialog, OpenButton } from "../parts/FormDialog";
import { words } from "../strings";
import { evalBody, runBody } from "./bodies";
import { FilePick } from "./FilePick";
import { GraderFields } from "./GraderFields";

const EVAL_FIELDS = ["name", "item_schema", "testing_criteria", "input", "reference", "operation", "evaluation_metric",
  "pass_threshold", "source"]; // biome-ignore format: one list
const RUN_FIELDS = ["name", "model", "source", "template", "temperature", "max_completion_tokens"];

export function NewEval() {
  const project = useProject();
  const navigate = useNavigate();
  const create = async (form: FormData) => {
    const made = await post<Eval>(inProject(project, "evals"), evalBody(form));
    await navigate({ to: "/console/evals/$evalId", params: { evalId: made.id }, search: (before) => before });
  };
  return (
    <OpenButton look="primary" label={words.jobs.newEval} icon={<Icon name="plus" className="size-4" />}>
      {(close) => (
        <FormDialog
          title={words.jobs.newEval}
          submit={words.keys.create}
          place="end"
          fields={EVAL_FIELDS}
          onSubmit={create}
          onClose={close}
        >
          {(wrong) => (
            <>
              <Field label={words.jobs.name} wrong={wrong("name")} name="name" required maxLength={256} />
              <Field
                label={words.jobs.itemFields}
                hint={words.jobs.itemFieldsHint}
                wrong={wrong("item_schema")}
                name="item_schema"
                defaultValue="question, answer"
                required
              />
              <GraderFields wrong={wrong} />
            </>
          )}
        </FormDialog>
      )}
    </OpenButton>
  );
}

export function NewRun({ evaluation }: { evaluation: Eval }) {
  return (
    <OpenButton look="primary" label={words.jobs.newRun} icon={<Icon name="plus" className="size-4" />}>
      {(close) => <RunDialog evaluation={evaluation} onClose={close} />}
    </OpenButton>
  );
}

function RunDialog({ evaluation, onClose }: { evaluation: Eval; onClose: () => void }) {
  const project = useProject();
  const navigate = useNavigate();
  const models = useQuery(textModels(project));
  const create = async (form: FormData) => {
    const made = await post<EvalRun>(evalPath(project, evaluation.id, "/runs"), runBody(form));
    const params = { evalId: evaluation.id, runId: made.id };
    await navigate({ to: "/console/evals/$evalId/$runId", params, search: (before) => before });
  };
  return (
    <FormDialog
      title={words.jobs.newRun}
      submit={words.jobs.start}
      place="end"
      fields={RUN_FIELDS}
      onSubmit={create}
      onClose={onClose}
    >
      {(wrong) => (
        <>
          <FilePick
            label={words.jobs.itemsFile}
            hint={words.jobs.itemsHint}
            name="source"
            purpose="evals"
            wrong={wrong("source")}
          />
          <Choice label={words.jobs.model} name="model" wrong={wrong("model")} required>
            {models.data?.map((id) => (
              <option key={id}>{id}</option>
            ))}
          </Choice>
          <Field label={words.jobs.runName} name="name" wrong={wrong("name")} maxLength={256} />
          <TextField label={words.jobs.system} name="system" rows={2} />
          <TextField
            label={words.jobs.template}
            hint={words.jobs.templateHint}
            wrong={wrong("template")}
            name="template"
            defaultValue={`{{item.${fieldsOf(evaluation)[0] ?? "question"}}}`}
            rows={3}
            required
          />
          <div className="grid grid-cols-2 items-end gap-3">
            <Field
              label={words.jobs.temperature}
              wrong={wrong("temperature")}
              name="temperature"
              inputMode="decimal"
              defaultValue="0"
              required
            />
            <Field
              label={words.jobs.mostTokens}
              wrong={wrong("max_completion_tokens")}
              name="max_completion_tokens"
              inputMode="numeric"
              defaultValue="256"
            />
          </div>
        </>
      )}
    </FormDialog>
  );
}

function fieldsOf({ data_source_config: { schema } }: Eval): string[] {
  return Object.keys(schema?.properties?.item?.properties ?? {});
}
