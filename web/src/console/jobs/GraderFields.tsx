/** The grader of an evaluation: the kinds that a few fields can say, and every other one as JSON. */

import { useState } from "react";
import { Field, TextField } from "../../ui/Field";
import { Choice } from "../parts/Choice";
import type { Wrong } from "../parts/FormDialog";
import { words } from "../strings";
import { GRADERS, type Grader, METRICS, OPERATIONS } from "./bodies";

const CODE = "w-full resize-y rounded-lg border border-line-strong bg-page px-3 py-2 font-mono text-xs";
const PYTHON = `def grade(sample, item):
    return 1.0 if item["answer"] in sample["output_text"] else 0.0`;
const JSON_EXAMPLE = `[
  {
    "type": "string_check",
    "name": "right",
    "operation": "ilike",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}"
  }
]`;

export function GraderFields({ wrong }: { wrong: Wrong }) {
  const [type, setType] = useState<Grader>("string_check");
  return (
    <>
      <Choice
        label={words.jobs.grader}
        hint={words.jobs.graderHints[type]}
        name="grader_type"
        value={type}
        onChange={(event) => setType(GRADERS.find((each) => each === event.target.value) ?? "string_check")}
      >
        {GRADERS.map((each) => (
          <option key={each} value={each}>
            {words.jobs.graders[each]}
          </option>
        ))}
      </Choice>
      {type !== "json" && (
        <Field label={words.jobs.graderName} name="grader_name" defaultValue={words.jobs.usualGrader} required />
      )}
      {(type === "string_check" || type === "text_similarity") && <Compared type={type} wrong={wrong} />}
      {type === "python" && (
        <TextField
          label={words.jobs.source}
          wrong={wrong("source")}
          name="source"
          defaultValue={PYTHON}
          rows={6}
          className={CODE}
          required
        />
      )}
      {(type === "text_similarity" || type === "python") && (
        <Field
          label={words.jobs.threshold}
          wrong={wrong("pass_threshold")}
          name="pass_threshold"
          inputMode="decimal"
          defaultValue="0.5"
          required
        />
      )}
      {type === "json" && (
        <TextField
          label={words.jobs.gradersAsJson}
          wrong={wrong("testing_criteria")}
          name="testing_criteria"
          defaultValue={JSON_EXAMPLE}
          rows={10}
          className={CODE}
          required
        />
      )}
    </>
  );
}

function Compared({ type, wrong }: { type: "string_check" | "text_similarity"; wrong: Wrong }) {
  return (
    <>
      <Field
        label={words.jobs.graded}
        wrong={wrong("input")}
        name="input"
        defaultValue="{{sample.output_text}}"
        required
      />
      {type === "string_check" ? (
        <Choice label={words.jobs.operation} wrong={wrong("operation")} name="operation">
          {OPERATIONS.map((each) => (
            <option key={each} value={each}>
              {words.jobs.operations[each]}
            </option>
          ))}
        </Choice>
      ) : (
        <Choice label={words.jobs.metric} wrong={wrong("evaluation_metric")} name="evaluation_metric">
          {METRICS.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </Choice>
      )}
      <Field
        label={words.jobs.reference}
        wrong={wrong("reference")}
        name="reference"
        defaultValue="{{item.answer}}"
        required
      />
    </>
  );
}
