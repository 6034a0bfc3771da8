/** The filters of a policy, in both directions. */

import type { ContentFilter } from "../data/policies";
import { Table } from "../parts/Table";
import { words } from "../strings";
import { keyOf, type Rule } from "./rules";

interface Props {
  rules: Rule[];
  isFixed: boolean;
  onChange: (rule: Rule) => void;
}

type Threshold = NonNullable<ContentFilter["severityThreshold"]>;
const THRESHOLDS: readonly Threshold[] = ["Low", "Medium", "High"];

export function Rules({ rules, isFixed, onChange }: Props) {
  return (
    <Table
      label={words.policies.filters}
      rows={rules}
      keyOf={keyOf}
      columns={[
        { title: words.policies.filter, cell: ({ name }) => <span className="font-medium">{name}</span> },
        { title: words.policies.looksAt, cell: ({ source }) => words.policies.sources[source] },
        {
          title: words.policies.looks,
          cell: (rule) => (
            <Box
              label={`${words.policies.looks}: ${rule.name}, ${words.policies.sources[rule.source]}`}
              isOn={rule.enabled}
              isDisabled={isFixed}
              onChange={(enabled) => onChange({ ...rule, enabled })}
            />
          ),
        },
        {
          title: words.policies.blocks,
          cell: (rule) => (
            <Box
              label={`${words.policies.blocks}: ${rule.name}, ${words.policies.sources[rule.source]}`}
              isOn={rule.enabled && rule.blocking}
              isDisabled={isFixed || !rule.enabled}
              onChange={(blocking) => onChange({ ...rule, blocking })}
            />
          ),
        },
        {
          title: words.policies.threshold,
          cell: (rule) => rule.isGraded && <ThresholdChoice rule={rule} isFixed={isFixed} onChange={onChange} />,
        },
        { title: words.policies.from, cell: ({ from }) => words.policies.saidBy[from] },
      ]}
    />
  );
}

interface BoxProps {
  label: string;
  isOn: boolean;
  isDisabled: boolean;
  onChange: (isOn: boolean) => void;
}

function Box({ label, isOn, isDisabled, onChange }: BoxProps) {
  return (
    <input
      type="checkbox"
      aria-label={label}
      checked={isOn}
      disabled={isDisabled}
      onChange={(event) => onChange(event.target.checked)}
      className="size-4.5 accent-accent"
    />
  );
}

function ThresholdChoice({ rule, isFixed, onChange }: Omit<Props, "rules"> & { rule: Rule }) {
  const choose = (value: string) => {
    const severityThreshold = THRESHOLDS.find((each) => each === value);
    if (severityThreshold) onChange({ ...rule, severityThreshold });
  };
  return (
    <select
      aria-label={`${words.policies.threshold}: ${rule.name}, ${words.policies.sources[rule.source]}`}
      value={rule.severityThreshold}
      disabled={isFixed || !rule.enabled}
      onChange={(event) => choose(event.target.value)}
      className="rounded-lg border border-line-strong bg-page px-2 py-1 disabled:opacity-60"
    >
      {THRESHOLDS.map((each) => (
        <option key={each} value={each}>
          {words.policies.thresholds[each]}
        </option>
      ))}
    </select>
  );
}
