/** What surrounds every page: the bar that says that the server is away, and what is shown when all else fails. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ErrorComponentProps, Outlet } from "@tanstack/react-router";
import { useEffect, useRef, useSyncExternalStore } from "react";
import { connection } from "./api/client";
import { sessionQuery } from "./api/session";
import { strings } from "./strings";
import { Button } from "./ui/Button";
import { Icon } from "./ui/Icon";

const POLL_MS = 3_000;

export function Root() {
  return (
    <div className="flex h-dvh flex-col">
      <ConnectionBar />
      <div className="min-h-0 flex-1">
        <Outlet />
      </div>
    </div>
  );
}

/** Asks for the session until the server answers, then has everything that may have changed meanwhile fetched again. */
function ConnectionBar() {
  const isUp = useSyncExternalStore(connection.subscribe, connection.isUp);
  const wasUp = useRef(true);
  const client = useQueryClient();
  useQuery({ ...sessionQuery, refetchInterval: isUp ? false : POLL_MS });

  useEffect(() => {
    if (isUp && !wasUp.current) void client.invalidateQueries();
    wasUp.current = isUp;
  }, [isUp, client]);

  return (
    <div role="status">
      {!isUp && (
        <p className="flex items-center justify-center gap-2 bg-danger-soft px-4 py-1.5 text-danger text-sm">
          <Icon name="alert" className="size-4" />
          {strings.connection.lost}
        </p>
      )}
    </div>
  );
}

export function Failure({ error }: ErrorComponentProps) {
  return (
    <main className="grid h-full place-content-center justify-items-center gap-4 p-6 text-center">
      <Icon name="mark" className="size-10 text-brass" />
      <h1 className="font-semibold text-xl">{strings.failure.title}</h1>
      <p className="text-soft">{error instanceof Error ? error.message : String(error)}</p>
      <Button look="primary" onClick={() => location.reload()}>
        {strings.failure.reload}
      </Button>
    </main>
  );
}

export function NotFound() {
  return (
    <main className="grid h-full place-content-center p-6 text-center text-soft">
      <p>{strings.failure.notFound}</p>
    </main>
  );
}
