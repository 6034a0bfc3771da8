/** What an assistant makes of a chat. Pure. */

import type { ChatSettings } from "../api/types";
import type { Preset } from "./api";

/** The settings of a chat that begins with it: a copy, so that the chat stays as it began. */
export function settingsOf({ id, name, icon, instructions, settings, vector_store }: Preset): ChatSettings {
  return {
    ...settings,
    ...(instructions && { instructions }),
    preset: { id, name, icon, ...(vector_store !== null && { vector_store }) },
  };
}

/** The same settings without what an assistant has given. */
export function withoutPreset({ model, vector_store, versus }: ChatSettings): ChatSettings {
  return { ...(model && { model }), ...(vector_store && { vector_store }), ...(versus && { versus }) };
}

/** Settings of a chat that has not begun, once an assistant is chosen for it. What is attached already stays. */
export function begunWith(preset: Preset, before: ChatSettings): ChatSettings {
  return { ...withoutPreset(before), ...settingsOf(preset) };
}
