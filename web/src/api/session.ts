/** Who is signed in. */

import { queryOptions } from "@tanstack/react-query";
import { get, post, remove, setCsrf } from "./client";
import type { Session } from "./types";

const PATH = "v1/x/session";

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async ({ signal }) => noted(await get<Session>(PATH, signal)),
  staleTime: 60_000,
  // Another tab may have signed in anew, with another token.
  refetchOnWindowFocus: "always",
});

export async function signIn(proof: { key: string } | { link: string }): Promise<Session> {
  return noted(await post<Session>(PATH, proof));
}

export async function signOut(everywhere: boolean): Promise<Session> {
  return noted(await remove<Session>(everywhere ? `${PATH}?everywhere=true` : PATH));
}

/**
 * The code of a one-time link, which is taken out of the address: it must stay neither there nor in the history.
 */
export function takeLink(): string | null {
  const code = new URLSearchParams(location.hash.slice(1)).get("link");
  if (code !== null) history.replaceState(history.state, "", location.pathname + location.search);
  return code;
}

function noted(session: Session): Session {
  setCsrf(session.csrf);
  return session;
}
