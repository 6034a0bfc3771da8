/** What every page of the Console is made of. */

import type { ReactNode } from "react";
import { useTitle } from "../../ui/title";
import { words } from "../strings";

interface PageProps {
  title: string;
  /** One sentence on what this is. */
  lead?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

export function Page({ title, lead, actions, children }: PageProps) {
  useTitle(`${title} · ${words.console}`);
  return (
    <div className="mx-auto flex w-full max-w-6xl flex-col gap-6 px-4 pt-4 pb-16 sm:px-6 sm:pt-6">
      <header className="flex flex-wrap items-start justify-between gap-3">
        <div className="min-w-0">
          <h1 className="break-words font-semibold text-2xl leading-tight">{title}</h1>
          {lead && <p className="mt-1 text-soft text-sm">{lead}</p>}
        </div>
        {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

export function Section({ title, actions, children }: { title: string; actions?: ReactNode; children: ReactNode }) {
  return (
    <section className="flex min-w-0 flex-col gap-3">
      <header className="flex min-h-9 flex-wrap items-center justify-between gap-2">
        <h2 className="font-semibold text-lg">{title}</h2>
        {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
      </header>
      {children}
    </section>
  );
}

export function Card({ children, className = "" }: { children: ReactNode; className?: string }) {
  return <div className={`min-w-0 rounded-xl border border-line bg-raised ${className}`}>{children}</div>;
}

/** A name and a number. */
export function Tile({ label, children, hint }: { label: string; children: ReactNode; hint?: ReactNode }) {
  return (
    <Card className="flex flex-col gap-1 p-4">
      <p className="text-soft text-sm">{label}</p>
      <div className="break-words font-semibold text-2xl tabular-nums leading-tight">{children}</div>
      {hint && <p className="text-soft text-xs">{hint}</p>}
    </Card>
  );
}

/** The server's words about what went wrong. */
export function Problem({ error }: { error: Error | null }) {
  return (
    <div role="alert" className="contents">
      {error && (
        <p className="whitespace-pre-line break-words rounded-lg bg-danger-soft px-3 py-2 text-danger text-sm">
          {error.message}
        </p>
      )}
    </div>
  );
}

interface Asked {
  isPending: boolean;
  error: Error | null;
  data: unknown;
}

/** Shows what was asked for once it is there; until then that it is coming, or what the server says instead. */
export function Loaded({ query, children }: { query: Asked; children: ReactNode }) {
  if (query.data !== undefined) return children;
  if (query.error) return <Problem error={query.error} />;
  return <p className="py-4 text-soft text-sm">{words.loading}</p>;
}

export function Empty({ children }: { children: ReactNode }) {
  return (
    <p className="rounded-xl border border-line border-dashed px-4 py-8 text-center text-soft text-sm">{children}</p>
  );
}
