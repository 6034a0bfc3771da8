/** The frame of the Console: its pages at the start, the one that is open beside them. */

import { useQuery } from "@tanstack/react-query";
import { Link, type LinkProps, Outlet, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { AccountMenu } from "../shell/AccountMenu";
import { strings } from "../strings";
import { IconButton } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import "./console.css";
import { projectsQuery, useProject } from "./data/project";
import { Select } from "./parts/Select";
import { words } from "./strings";

type To = NonNullable<LinkProps["to"]>;

const GROUPS: { title: string; pages: [To, string][] }[] = [
  {
    title: words.nav.serving,
    pages: [
      ["/console", words.nav.overview],
      ["/console/models", words.nav.models],
      ["/console/deployments", words.nav.deployments],
      ["/console/usage", words.nav.usage],
      ["/console/health", words.nav.health],
    ],
  },
  {
    title: words.nav.work,
    pages: [
      ["/console/fine-tuning", words.nav.fineTuning],
      ["/console/batches", words.nav.batches],
      ["/console/evals", words.nav.evals],
    ],
  },
  {
    title: words.nav.governance,
    pages: [
      ["/console/keys", words.nav.keys],
      ["/console/quotas", words.nav.quotas],
      ["/console/policies", words.nav.policies],
      ["/console/audit", words.nav.audit],
    ],
  },
];

export function Layout() {
  const [isDrawn, setIsDrawn] = useState(false);
  return (
    <div className="flex h-full">
      <button
        type="button"
        className="sr-only z-30 rounded-lg bg-accent px-4 py-2 text-on-accent focus:not-sr-only focus:fixed focus:start-3 focus:top-3"
        onClick={() => document.getElementById("page")?.focus()}
      >
        {words.nav.skip}
      </button>
      <div className="hidden w-60 shrink-0 border-line border-e md:block">
        <Nav />
      </div>
      {isDrawn && (
        <Dialog bare place="start" title={words.nav.label} onClose={() => setIsDrawn(false)}>
          {(close) => <Nav onLeave={close} />}
        </Dialog>
      )}
      <div className="flex min-w-0 flex-1 flex-col">
        <header className="flex min-h-13 items-center gap-1 border-line border-b px-2 md:hidden">
          <IconButton label={words.nav.open} onClick={() => setIsDrawn(true)}>
            <Icon name="menu" />
          </IconButton>
          <span className="font-semibold">{words.console}</span>
        </header>
        <main id="page" tabIndex={-1} className="min-h-0 flex-1 overflow-y-auto outline-none">
          <Outlet />
        </main>
      </div>
    </div>
  );
}

function Nav({ onLeave }: { onLeave?: () => void }) {
  return (
    <nav aria-label={words.nav.label} className="flex h-full flex-col bg-panel text-sm">
      <div className="flex min-h-13 items-center gap-2 px-3">
        <Icon name="mark" className="size-6 text-brass" />
        <span className="flex-1 font-semibold text-base">
          {strings.product} <span className="font-normal text-soft">{words.console}</span>
        </span>
        {onLeave && (
          <IconButton label={words.nav.close} onClick={onLeave} className="-me-1">
            <Icon name="close" />
          </IconButton>
        )}
      </div>
      <div className="flex flex-col gap-3 px-3 pb-2">
        <Link
          to="/"
          search={{}}
          className="flex min-h-9 items-center gap-2 rounded-lg border border-line bg-raised px-3 py-1.5 font-medium hover:bg-hover"
        >
          <Icon name="chevronStart" className="size-4" />
          {words.nav.chats}
        </Link>
        <ProjectPicker />
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto px-3 pb-4">
        {GROUPS.map(({ title, pages }) => (
          <section key={title} aria-label={title}>
            <h2 className="px-2 pt-3 pb-1 font-medium text-soft text-xs">{title}</h2>
            <ul>
              {pages.map(([to, name]) => (
                <li key={to}>
                  <Link
                    to={to}
                    onClick={onLeave}
                    activeOptions={{ exact: to === "/console", includeSearch: false }}
                    className="flex min-h-8 items-center rounded-lg px-2 py-1 hover:bg-hover aria-[current=page]:bg-accent-soft aria-[current=page]:font-medium"
                  >
                    {name}
                  </Link>
                </li>
              ))}
            </ul>
          </section>
        ))}
      </div>
      <AccountMenu />
    </nav>
  );
}

/** Where there is one project, or where the list is not for the one who looks, there is nothing to choose. */
function ProjectPicker() {
  const project = useProject();
  const navigate = useNavigate();
  const { data: projects = [] } = useQuery(projectsQuery);
  if (projects.length < 2) return null;
  return (
    <Select
      label={words.nav.project}
      value={project}
      options={projects.map(({ id, name }) => [id, name] as const)}
      onChange={(chosen) => void navigate({ to: ".", search: (before) => ({ ...before, project: chosen }) })}
    />
  );
}
