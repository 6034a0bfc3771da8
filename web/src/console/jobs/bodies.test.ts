import { describe, expect, it } from "vitest";
import { fieldOf } from "../parts/FormDialog";
import { evalBody, fineTuningBody, itemFields, numberOr, runBody } from "./bodies";

function formOf(values: Record<string, string>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(values)) form.set(name, value);
  return form;
}

describe("bodies of jobs", () => {
  it("says nothing of what was left empty, and leaves wrong numbers to the server", () => {
    const given = {
      model: "m",
      training_file: "file-1",
      method: "dpo",
      n_epochs: "2",
      beta: "0,5",
      batch_size: "soon",
    };
    expect(fineTuningBody(formOf({ ...given, suffix: " ", seed: "", validation_file: "" }))).toEqual({
      model: "m",
      training_file: "file-1",
      method: { type: "dpo", dpo: { hyperparameters: { n_epochs: 2, beta: 0.5, batch_size: "soon" } } },
    });
  });

  it("keeps what belongs to another method out of it", () => {
    const given = { model: "m", training_file: "f", method: "supervised", beta: "1", grader: "{" };
    expect(fineTuningBody(formOf(given)).method).toEqual({ type: "supervised", supervised: { hyperparameters: {} } });
    expect(() => fineTuningBody(formOf({ ...given, method: "reinforcement" }))).toThrow("This is not JSON");
  });

  it("makes a schema of the names of an item's fields", () => {
    expect(itemFields(" question,answer; answer ")).toEqual(["question", "answer"]);
    const form = formOf({ name: "n", item_schema: "q", grader_type: "json", testing_criteria: '[{"type":"x"}]' });
    expect(evalBody(form)).toMatchObject({
      data_source_config: { item_schema: { properties: { q: { type: "string" } }, required: ["q"] } },
      testing_criteria: [{ type: "x" }],
    });
  });

  it("asks with a system message only if there is one", () => {
    const form = formOf({ name: "", model: "m", source: "f", template: "{{item.q}}", temperature: "0" });
    expect(runBody(form).data_source).toMatchObject({
      input_messages: { template: [{ role: "user", content: "{{item.q}}" }] },
      sampling_params: { temperature: 0 },
    });
  });

  it("takes numbers as people write them", () => {
    expect(["0,5", "1e3", "", "auto"].map(numberOr)).toEqual([0.5, 1000, "", "auto"]);
  });
});

describe("what the server says is wrong", () => {
  it("is shown at the last field that its place names", () => {
    expect(fieldOf("method.supervised.hyperparameters.n_epochs", ["n_epochs", "method"])).toBe("n_epochs");
    expect(fieldOf("testing_criteria[0].pass_threshold", ["testing_criteria", "pass_threshold"])).toBe(
      "pass_threshold",
    );
    expect(fieldOf("method.reinforcement.grader.name", ["grader"])).toBe("grader");
    expect(fieldOf("metadata", ["grader"])).toBeUndefined();
  });
});
