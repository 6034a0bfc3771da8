/** Lists of the API, in both of its ways to page, and how often what changes by itself is asked for. */

import { infiniteQueryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";

/** Of what somebody is waiting for, and of what they look at by the way. Only while the page is in sight. */
export const LIVE_MS = 3_000;
export const CALM_MS = 20_000;
const PER_PAGE = 50;

export interface Listed<T> {
  data: T[];
  has_more: boolean;
}

/** A project's own address: everything below it is for that project, whatever the session's own is. */
export function inProject(project: string, path: string): string {
  return `projects/${encodeURIComponent(project)}/v1/${path}`;
}

/** A list page by page, as OpenAI's lists have it: the id of the last one leads to more. */
export function pagesOf<T extends { id: string }>(path: string) {
  return infiniteQueryOptions({
    queryKey: ["console", "list", path],
    queryFn: ({ pageParam, signal }) => get<Listed<T>>(pageAddress(path, pageParam, PER_PAGE), signal),
    initialPageParam: "",
    getNextPageParam: (page) => (page.has_more ? (page.data.at(-1)?.id ?? null) : null),
  });
}

function pageAddress(path: string, after: string, limit: number): string {
  const mark = path.includes("?") ? "&" : "?";
  return `${path}${mark}${new URLSearchParams({ limit: String(limit), ...(after && { after }) })}`;
}

/** All of a list that is never long. */
export async function wholeList<T extends { id: string }>(path: string, signal: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  for (let after = ""; ; ) {
    const page = await get<Listed<T>>(pageAddress(path, after, 100), signal);
    found.push(...page.data);
    after = page.data.at(-1)?.id ?? "";
    if (!page.has_more || after === "") return found;
  }
}
