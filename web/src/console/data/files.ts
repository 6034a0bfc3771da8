/** Files that jobs are made of. */

import { queryOptions } from "@tanstack/react-query";
import { get, upload } from "../../api/client";
import { inProject, type Listed } from "./lists";

export type Purpose = "fine-tune" | "batch" | "evals";

export interface StoredFile {
  id: string;
  filename: string;
  bytes: number;
  created_at: number;
}

/** The newest of a purpose: who wants an older one uploads it again, which takes no room. */
export function filesQuery(project: string, purpose: Purpose) {
  const query = new URLSearchParams({ purpose, order: "desc", limit: "100" });
  return queryOptions({
    queryKey: ["console", "files", project, purpose],
    queryFn: async ({ signal }) => (await get<Listed<StoredFile>>(inProject(project, `files?${query}`), signal)).data,
  });
}

export function uploadFile(
  project: string,
  purpose: Purpose,
  file: File,
  tell: (part: number) => void,
  signal: AbortSignal,
): Promise<StoredFile> {
  const form = new FormData();
  form.append("purpose", purpose);
  form.append("file", file);
  return upload<StoredFile>(inProject(project, "files"), form, tell, signal);
}
