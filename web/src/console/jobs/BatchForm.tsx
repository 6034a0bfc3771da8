/** Makes a batch. */

import { post } from "../../api/client";
import { Icon } from "../../ui/Icon";
import { inProject } from "../data/lists";
import { useProject } from "../data/project";
import { Choice } from "../parts/Choice";
import { FormDialog, OpenButton } from "../parts/FormDialog";
import { words } from "../strings";
import { batchBody, ENDPOINTS } from "./bodies";
import { FilePick } from "./FilePick";

export function NewBatch() {
  const project = useProject();
  const create = (form: FormData) => post(inProject(project, "batches"), batchBody(form));
  return (
    <OpenButton look="primary" label={words.jobs.newBatch} icon={<Icon name="plus" className="size-4" />}>
      {(close) => (
        <FormDialog
          title={words.jobs.newBatch}
          submit={words.keys.create}
          fields={["input_file_id", "endpoint"]}
          onSubmit={create}
          onClose={close}
        >
          {(wrong) => (
            <>
              <FilePick
                label={words.jobs.batchFile}
                hint={words.jobs.batchHint}
                name="input_file_id"
                purpose="batch"
                wrong={wrong("input_file_id")}
              />
              <Choice
                label={words.jobs.endpoint}
                hint={words.jobs.endpointHint}
                name="endpoint"
                wrong={wrong("endpoint")}
              >
                {ENDPOINTS.map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </Choice>
            </>
          )}
        </FormDialog>
      )}
    </OpenButton>
  );
}
