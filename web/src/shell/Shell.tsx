/** The frame of the pages for those who are signed in: the chats at the start, the page beside them. */

import { Outlet } from "@tanstack/react-router";
import { createContext, type ReactNode, use, useMemo, useState, useSyncExternalStore } from "react";
import { useChanges } from "../chat/changes";
import { strings } from "../strings";
import { IconButton } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { Sidebar } from "./Sidebar";

const wide = matchMedia("(min-width: 48rem)");

function useIsWide(): boolean {
  return useSyncExternalStore(
    (watcher) => {
      wide.addEventListener("change", watcher);
      return () => wide.removeEventListener("change", watcher);
    },
    () => wide.matches,
  );
}

/** Opens the chats, where they are not in sight. */
const OpenSidebar = createContext<(() => void) | null>(null);

export function Shell() {
  useChanges();
  const isWide = useIsWide();
  const [isBeside, setIsBeside] = useState(true);
  const [isDrawn, setIsDrawn] = useState(false);
  const open = useMemo(() => {
    if (isWide) return isBeside ? null : () => setIsBeside(true);
    return () => setIsDrawn(true);
  }, [isWide, isBeside]);

  return (
    <div className="flex h-full">
      <SkipButton onClick={() => document.getElementById("message")?.focus()}>{strings.shell.skip}</SkipButton>
      {isWide && isBeside && (
        <div className="w-72 shrink-0 border-line border-e">
          <Sidebar onClose={() => setIsBeside(false)} />
        </div>
      )}
      {!isWide && isDrawn && (
        <Dialog bare place="start" title={strings.shell.navigation} onClose={() => setIsDrawn(false)}>
          {(close) => <Sidebar onClose={close} onLeave={close} />}
        </Dialog>
      )}
      <OpenSidebar value={open}>
        <div className="flex min-w-0 flex-1 flex-col">
          <Outlet />
        </div>
      </OpenSidebar>
    </div>
  );
}

/** The first thing that the keyboard reaches; seen only then. A link would not do: the base turns "#…" into another page. */
function SkipButton(props: { onClick: () => void; children: ReactNode }) {
  return (
    <button
      type="button"
      className="sr-only z-30 rounded-lg bg-accent px-4 py-2 text-on-accent focus:not-sr-only focus:fixed focus:start-3 focus:top-3"
      {...props}
    />
  );
}

/** The top of a page: its title, if it has not one of its own, and what can be done with all of it. */
export function TopBar({ title, children }: { title?: string; children?: ReactNode }) {
  const open = use(OpenSidebar);
  return (
    <header className="flex min-h-13 items-center gap-1 px-2">
      {open && (
        <IconButton label={strings.shell.openNavigation} onClick={open}>
          <Icon name="sidebar" />
        </IconButton>
      )}
      {title && (
        <h1 className="min-w-0 flex-1 truncate px-2 font-medium" dir="auto">
          {title}
        </h1>
      )}
      {children}
    </header>
  );
}
