/** What is made of an assistant: copies, and files. Pure. */

import type { ChatSettings } from "../api/types";
import type { Preset, PresetFields, PresetSettings } from "./api";

export const MOST_STARTERS = 4;

/** What another one begins with that is to be the same. Its files are to be copied, and it is nobody else's to see. */
export function copyOf(preset: Preset, name: string): PresetFields {
  const { description, icon, instructions, settings, starters } = preset;
  return { name, description, icon, instructions, settings, starters, vector_store: null, shared: false };
}

const FORMAT = "preset.export";

/** A file of assistants. Files of theirs are the server's, and stay there. */
export function exported(presets: readonly Preset[]): string {
  const list = presets.map(({ name, description, icon, instructions, settings, starters }) => ({
    name,
    description,
    icon,
    instructions,
    settings,
    starters,
  }));
  return `${JSON.stringify({ object: FORMAT, version: 1, presets: list }, null, 2)}\n`;
}

/**
 * The assistants of a file: of one that `exported` has made, or of everything that a person has exported.
 *
 * @throws TypeError if it is neither. What the fields are is the server's to check.
 */
export function imported(text: string): Partial<PresetFields>[] {
  const found: unknown = JSON.parse(text);
  if (!isRecord(found) || !Array.isArray(found.presets) || !found.presets.every(isRecord))
    throw new TypeError("no assistants");
  return found.presets.map(({ name, description, icon, instructions, settings, starters }) =>
    defined({ name, description, icon, instructions, settings, starters }),
  );
}

/** What a file of these is called: as the assistant, if it is one. */
export function fileName(presets: readonly Preset[]): string {
  const [first, ...others] = presets;
  const name = first !== undefined && others.length === 0 ? first.name : "";
  return `${name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "assistants"}.json`;
}

/** The fields of a form: numbers that were left empty are the model's own to choose. */
export function presetSettings({ model, temperature, top_p, max_output_tokens, seed }: ChatSettings): PresetSettings {
  return defined({ model, temperature, top_p, max_output_tokens, seed });
}

/** Texts without what surrounds them, and without empty ones. */
export function startersOf(texts: readonly string[]): string[] {
  return texts.map((text) => text.trim()).filter(Boolean);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// biome-ignore lint/suspicious/noExplicitAny: the same object, of which only the absent fields are gone.
function defined(fields: Record<string, unknown>): any {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
