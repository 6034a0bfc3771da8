/** Makes a deployment, and resizes one. */

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { strings } from "../../strings";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { type Account, armPatch, armPut, below } from "../data/arm";
import { type CatalogModel, catalogQuery, type Deployment } from "../data/deployments";
import { policiesQuery } from "../data/policies";
import { Choice } from "../parts/Choice";
import { FormDialog, OpenButton, textIn } from "../parts/FormDialog";
import { Problem } from "../parts/Page";
import { words } from "../strings";

interface Props {
  account: Account;
  taken: Deployment[];
}

export function NewButton({ account, taken }: Props) {
  return (
    <OpenButton look="primary" label={words.deployments.new} icon={<Icon name="plus" className="size-4" />}>
      {(close) => <NewDialog account={account} taken={taken} onClose={close} />}
    </OpenButton>
  );
}

function NewDialog({ account, taken, onClose }: Props & { onClose: () => void }) {
  const catalog = useQuery(catalogQuery(account));
  const [chosen, setChosen] = useState("");
  // What was trained here is deployed less often than what that was made from.
  const models = (catalog.data ?? []).toSorted((one, other) => Number(isTrained(one)) - Number(isTrained(other)));
  const model = models.find((each) => idOf(each) === chosen) ?? models[0];
  const create = async (form: FormData) => {
    const name = textIn(form, "name");
    // A PUT of the same name would change what is there.
    if (taken.some((each) => each.name === name)) throw new Error(words.deployments.taken(name));
    await armPut(below(account, "deployments", name), {
      sku: { name: textIn(form, "sku"), capacity: Number(form.get("capacity")) },
      properties: { model: { name: model?.name, version: model?.version }, ...policyIn(form) },
    });
  };
  return (
    <FormDialog
      title={words.deployments.new}
      submit={words.keys.create}
      place="end"
      onSubmit={create}
      onClose={onClose}
    >
      <Problem error={catalog.error} />
      <Field label={words.deployments.name} hint={words.deployments.nameHint} name="name" required maxLength={64} />
      <Choice
        label={words.deployments.model}
        name="model"
        value={model ? idOf(model) : ""}
        onChange={(event) => setChosen(event.target.value)}
      >
        {models.map((each) => (
          <option key={idOf(each)} value={idOf(each)}>
            {idOf(each)}
          </option>
        ))}
      </Choice>
      <Choice label={words.deployments.sku} name="sku">
        {(model?.skus ?? []).map(({ name }) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </Choice>
      <CapacityField usual={10} most={Math.max(...(model?.skus ?? []).map(({ capacity }) => capacity.maximum), 1)} />
      <PolicyChoice account={account} />
    </FormDialog>
  );
}

function isTrained({ name }: CatalogModel): boolean {
  return name.startsWith("ft:");
}

function idOf({ name, version }: { name: string; version: string }): string {
  return `${name} @ ${version}`;
}

export function EditButton({ account, deployment }: { account: Account; deployment: Deployment }) {
  const { name, sku, properties } = deployment;
  const save = (form: FormData) =>
    armPatch(below(account, "deployments", name), {
      sku: { capacity: Number(form.get("capacity")) },
      properties: policyIn(form),
    });
  return (
    <OpenButton label={words.deployments.edit} about={name}>
      {(close) => (
        <FormDialog
          title={words.deployments.editTitle(name)}
          submit={strings.actions.save}
          onSubmit={save}
          onClose={close}
        >
          <CapacityField usual={sku.capacity} />
          <PolicyChoice account={account} {...(properties.raiPolicyName && { value: properties.raiPolicyName })} />
        </FormDialog>
      )}
    </OpenButton>
  );
}

function CapacityField({ usual, most }: { usual: number; most?: number }) {
  return (
    <Field
      type="number"
      name="capacity"
      label={words.deployments.capacity}
      hint={words.deployments.capacityHint}
      defaultValue={usual}
      min={1}
      max={most}
      step={1}
      required
    />
  );
}

/** Without one, the usual policy holds; a policy can be replaced by another, and not taken away. */
function PolicyChoice({ account, value }: { account: Account; value?: string }) {
  const policies = useQuery(policiesQuery(account));
  return (
    <Choice label={words.deployments.policy} name="policy" defaultValue={value ?? ""} key={policies.status}>
      {value === undefined && <option value="">{words.deployments.usual}</option>}
      {policies.data?.map(({ name }) => (
        <option key={name} value={name}>
          {name}
        </option>
      ))}
    </Choice>
  );
}

function policyIn(form: FormData): { raiPolicyName?: string } {
  const name = textIn(form, "policy");
  return name === "" ? {} : { raiPolicyName: name };
}
