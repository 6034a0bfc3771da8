/** Makes a fine-tuning job. */

import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { post } from "../../api/client";
import { Field, TextField } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import type { FineTuningJob } from "../data/jobs";
import { inProject } from "../data/lists";
import { textModels } from "../data/models";
import { useProject } from "../data/project";
import { Choice } from "../parts/Choice";
import { FormDialog, OpenButton, type Wrong } from "../parts/FormDialog";
import { Problem } from "../parts/Page";
import { words } from "../strings";
import { fineTuningBody, hyperparametersOf, METHODS, type Method } from "./bodies";
import { FilePick } from "./FilePick";

const FIELDS = ["model", "training_file", "validation_file", "suffix", "seed", "grader"];
const EXAMPLE = `{
  "type": "string_check",
  "name": "right",
  "operation": "eq",
  "input": "{{sample.output_text}}",
  "reference": "{{item.answer}}"
}`;

export function NewFineTuning() {
  return (
    <OpenButton look="primary" label={words.jobs.newFineTuning} icon={<Icon name="plus" className="size-4" />}>
      {(close) => <Dialog onClose={close} />}
    </OpenButton>
  );
}

function Dialog({ onClose }: { onClose: () => void }) {
  const project = useProject();
  const navigate = useNavigate();
  const models = useQuery(textModels(project));
  const [method, setMethod] = useState<Method>("supervised");
  const create = async (form: FormData) => {
    const made = await post<FineTuningJob>(inProject(project, "fine_tuning/jobs"), fineTuningBody(form));
    await navigate({ to: "/console/fine-tuning/$jobId", params: { jobId: made.id }, search: (before) => before });
  };
  return (
    <FormDialog
      title={words.jobs.newFineTuning}
      submit={words.keys.create}
      place="end"
      fields={[...FIELDS, ...hyperparametersOf(method)]}
      onSubmit={create}
      onClose={onClose}
    >
      {(wrong) => (
        <>
          <Problem error={models.error} />
          <FilePick
            label={words.jobs.trainingFile}
            hint={words.jobs.trainingHint}
            name="training_file"
            purpose="fine-tune"
            wrong={wrong("training_file")}
          />
          <FilePick
            label={words.jobs.validationFile}
            name="validation_file"
            purpose="fine-tune"
            isOptional
            wrong={wrong("validation_file")}
          />
          <Choice label={words.jobs.base} name="model" wrong={wrong("model")} required>
            {models.data?.map((id) => (
              <option key={id} value={id}>
                {id}
              </option>
            ))}
          </Choice>
          <Choice
            label={words.jobs.method}
            hint={words.jobs.methodHints[method]}
            name="method"
            value={method}
            onChange={(event) => setMethod(METHODS.find((each) => each === event.target.value) ?? "supervised")}
          >
            {METHODS.map((each) => (
              <option key={each} value={each}>
                {words.jobs.methods[each]}
              </option>
            ))}
          </Choice>
          {method === "reinforcement" && (
            <TextField
              label={words.jobs.grader}
              hint={words.jobs.graderHint}
              wrong={wrong("grader")}
              name="grader"
              defaultValue={EXAMPLE}
              rows={9}
              className="w-full resize-y rounded-lg border border-line-strong bg-page px-3 py-2 font-mono text-xs"
              required
            />
          )}
          <Field
            label={words.jobs.suffix}
            hint={words.jobs.suffixHint}
            wrong={wrong("suffix")}
            name="suffix"
            maxLength={64}
          />
          <Hyperparameters method={method} wrong={wrong} />
        </>
      )}
    </FormDialog>
  );
}

function Hyperparameters({ method, wrong }: { method: Method; wrong: Wrong }) {
  return (
    <fieldset className="flex flex-col gap-3">
      <legend className="mb-1 font-medium text-sm">{words.jobs.hyperparameters}</legend>
      <p className="text-soft text-xs">{words.jobs.autoHint}</p>
      <div className="grid grid-cols-[repeat(auto-fill,minmax(min(9rem,100%),1fr))] items-end gap-3">
        {hyperparametersOf(method).map((name) => (
          <Field
            key={name}
            label={words.jobs.hyperparameterNames[name] ?? name}
            wrong={wrong(name)}
            name={name}
            inputMode="decimal"
            placeholder="auto"
            autoComplete="off"
          />
        ))}
        <Field
          label={words.jobs.seed}
          wrong={wrong("seed")}
          name="seed"
          inputMode="numeric"
          placeholder={words.jobs.anySeed}
          autoComplete="off"
        />
      </div>
    </fieldset>
  );
}
