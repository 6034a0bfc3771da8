/** Tabs: the arrow keys move between them, and the one that has the focus is the one that is shown. */

import { type KeyboardEvent, type ReactNode, useId } from "react";

interface Props<Value extends string> {
  label: string;
  tabs: readonly { value: Value; label: string }[];
  value: Value;
  onChange: (value: Value) => void;
  /** Names the panels: see `Panel`. */
  id: string;
}

export function Tabs<Value extends string>({ label, tabs, value, onChange, id }: Props<Value>) {
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const at = tabs.findIndex((tab) => tab.value === value);
    const isRtl = getComputedStyle(event.currentTarget).direction === "rtl";
    const step = isRtl ? -1 : 1;
    const places: Record<string, number> = { ArrowRight: at + step, ArrowLeft: at - step, Home: 0, End: -1 };
    const place = places[event.key];
    if (place === undefined) return;
    event.preventDefault();
    const next = tabs.at(place % tabs.length);
    if (next === undefined) return;
    onChange(next.value);
    document.getElementById(tabId(id, next.value))?.focus();
  };
  return (
    <div role="tablist" aria-label={label} className="flex gap-1" onKeyDown={onKeyDown}>
      {tabs.map((tab) => (
        <button
          key={tab.value}
          type="button"
          role="tab"
          id={tabId(id, tab.value)}
          aria-selected={tab.value === value}
          aria-controls={panelId(id, tab.value)}
          tabIndex={tab.value === value ? 0 : -1}
          onClick={() => onChange(tab.value)}
          className="min-h-9 rounded-lg px-3 py-1.5 font-medium text-sm text-soft hover:bg-hover hover:text-ink aria-selected:bg-accent-soft aria-selected:text-accent"
        >
          {tab.label}
        </button>
      ))}
    </div>
  );
}

interface PanelProps {
  id: string;
  value: string;
  isShown: boolean;
  className?: string;
  children: ReactNode;
}

/** What a tab shows. Those that are not shown keep their state. */
export function TabPanel({ id, value, isShown, className, children }: PanelProps) {
  return (
    <div
      role="tabpanel"
      id={panelId(id, value)}
      aria-labelledby={tabId(id, value)}
      hidden={!isShown}
      className={isShown ? className : "hidden"}
    >
      {children}
    </div>
  );
}

export function useTabsId(): string {
  return useId();
}

function tabId(id: string, value: string): string {
  return `${id}-tab-${value}`;
}

function panelId(id: string, value: string): string {
  return `${id}-panel-${value}`;
}
