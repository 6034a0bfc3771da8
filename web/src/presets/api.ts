/** Saved assistants, which the API calls presets, and what a person wants all of their chats to be told. */

import { queryOptions } from "@tanstack/react-query";
import { get, post, remove, send } from "../api/client";
import type { Page } from "../api/types";

const PRESETS = "v1/x/presets";
/** The most that the server lists at once. */
const MOST = 100;

export interface PresetFields {
  name: string;
  description: string;
  icon: string;
  instructions: string;
  settings: PresetSettings;
  vector_store: string | null;
  starters: string[];
  shared: boolean;
}

export interface PresetSettings {
  model?: string;
  temperature?: number;
  top_p?: number;
  max_output_tokens?: number;
  seed?: number;
}

export interface Preset extends PresetFields {
  id: string;
  updated_at: number;
  /** Whether it may be changed. */
  mine: boolean;
}

export const presetsQuery = queryOptions({
  queryKey: ["presets"],
  queryFn: async ({ signal }) => {
    const found: Preset[] = [];
    for (let after = "", more = true; more; ) {
      const query = new URLSearchParams({ limit: String(MOST), ...(after && { after }) });
      const page = await get<Page<Preset>>(`${PRESETS}?${query}`, signal);
      found.push(...page.data);
      after = page.last_id;
      more = page.has_more;
    }
    return found;
  },
  staleTime: 10_000,
});

export function createPreset(fields: Partial<PresetFields>): Promise<Preset> {
  return post(PRESETS, fields);
}

export function updatePreset(id: string, fields: Partial<PresetFields>): Promise<Preset> {
  return post(`${PRESETS}/${id}`, fields);
}

export function deletePreset(id: string): Promise<unknown> {
  return remove(`${PRESETS}/${id}`);
}

export interface Personal {
  enabled: boolean;
  about: string;
  style: string;
  in_temporary: boolean;
}

export interface KeptPersonal extends Personal {
  /** Null if nothing was ever said. */
  updated_at: number | null;
}

const PERSONAL = "v1/x/me/instructions";

export const personalQuery = queryOptions({
  queryKey: ["personal"],
  queryFn: ({ signal }) => get<KeptPersonal>(PERSONAL, signal),
});

export async function putPersonal({ enabled, about, style, in_temporary }: Personal): Promise<KeptPersonal> {
  return (await send("PUT", PERSONAL, { body: { enabled, about, style, in_temporary } })).json();
}
