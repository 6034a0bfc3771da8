import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Button } from "../../ui/Button";
import { Check } from "../../ui/Check";
import { type Account, accountsQuery, armDelete, armPost, below } from "../data/arm";
import { type Deployment, deploymentsQuery, perMinute } from "../data/deployments";
import { useProject } from "../data/project";
import { AskButton, useChange } from "../parts/Ask";
import { format } from "../parts/format";
import { Empty, Loaded, Page, Problem, Section } from "../parts/Page";
import { Status } from "../parts/Status";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { EditButton, NewButton } from "./DeploymentForm";

export function DeploymentsPage() {
  const [isAll, setIsAll] = useState(false);
  const project = useProject();
  const accounts = useQuery(accountsQuery);
  const shown = accounts.data?.filter(({ name }) => isAll || name === project) ?? [];
  return (
    <Page
      title={words.nav.deployments}
      lead={words.deployments.lead}
      actions={
        accounts.data &&
        accounts.data.length > 1 && <Check label={words.deployments.all} isChecked={isAll} onChange={setIsAll} />
      }
    >
      <Loaded query={accounts}>
        {shown.length === 0 && <Empty>{words.deployments.noAccount}</Empty>}
        {shown.map((account) => (
          <OfProject key={account.id} account={account} />
        ))}
      </Loaded>
    </Page>
  );
}

function OfProject({ account }: { account: Account }) {
  const deployments = useQuery(deploymentsQuery(account));
  return (
    <Section
      title={words.deployments.ofProject(account.name)}
      actions={deployments.data && <NewButton account={account} taken={deployments.data} />}
    >
      <Loaded query={deployments}>
        <Deployments account={account} deployments={deployments.data ?? []} />
      </Loaded>
    </Section>
  );
}

function Deployments({ account, deployments }: { account: Account; deployments: Deployment[] }) {
  const change = useChange(({ name, verb }: { name: string; verb: "pause" | "resume" | "delete" }) => {
    const path = below(account, "deployments", name);
    return verb === "delete" ? armDelete(path) : armPost(`${path}/${verb}`);
  });
  if (deployments.length === 0) return <Empty>{words.deployments.none}</Empty>;
  return (
    <>
      <Problem error={change.error} />
      <Table
        label={words.deployments.ofProject(account.name)}
        rows={deployments}
        keyOf={({ id }) => id}
        columns={[
          { title: words.deployments.name, cell: ({ name }) => <span className="break-all font-medium">{name}</span> },
          { title: words.deployments.model, cell: (each) => <Model of={each} /> },
          { title: words.deployments.state, cell: ({ properties }) => <Status of={stateOf(properties)} /> },
          { title: words.deployments.capacity, cell: (each) => <Capacity of={each} /> },
          {
            title: words.deployments.policy,
            cell: ({ properties }) => properties.raiPolicyName ?? words.deployments.usual,
          },
          {
            title: words.actions,
            isQuiet: true,
            cell: (each) => (
              <div className="flex justify-end gap-2">
                <EditButton account={account} deployment={each} />
                <Toggle of={each} onChange={(verb) => change.mutate({ name: each.name, verb })} />
                <AskButton
                  label={words.deployments.delete}
                  about={each.name}
                  title={words.deployments.deleteTitle}
                  text={words.deployments.deleteText(each.name)}
                  onConfirm={() => change.mutate({ name: each.name, verb: "delete" })}
                />
              </div>
            ),
          },
        ]}
      />
    </>
  );
}

/** Whether it runs is of no interest before it is there. */
function stateOf({ provisioningState, deploymentState }: Deployment["properties"]): string {
  return provisioningState === "Succeeded" ? deploymentState : provisioningState;
}

function Model({ of: { properties } }: { of: Deployment }) {
  const { name, version } = properties.model;
  return (
    <>
      <span className="break-all">{name}</span>
      <p className="text-soft text-xs">{version}</p>
    </>
  );
}

function Capacity({ of: deployment }: { of: Deployment }) {
  const [tokens, requests] = [perMinute(deployment, "token"), perMinute(deployment, "request")];
  return (
    <div className="whitespace-nowrap">
      {words.deployments.units(deployment.sku.capacity)} · {deployment.sku.name}
      <p className="text-soft text-xs">
        {[
          tokens && words.deployments.tokens(format.whole(tokens)),
          requests && words.deployments.requests(format.whole(requests)),
        ]
          .filter(Boolean)
          .join(", ")}
      </p>
    </div>
  );
}

interface ToggleProps {
  of: Deployment;
  onChange: (verb: "pause" | "resume") => void;
}

/** Pausing refuses requests, and so asks first. */
function Toggle({ of: { name, properties }, onChange }: ToggleProps) {
  if (properties.deploymentState === "Paused") {
    return (
      <Button look="outline" aria-label={`${words.jobs.resume}: ${name}`} onClick={() => onChange("resume")}>
        {words.jobs.resume}
      </Button>
    );
  }
  return (
    <AskButton
      label={words.jobs.pause}
      about={name}
      title={words.deployments.pauseTitle}
      text={words.deployments.pauseText(name)}
      onConfirm={() => onChange("pause")}
    />
  );
}
