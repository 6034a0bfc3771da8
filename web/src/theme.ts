/** Light or dark. Both themes are in the style sheet; this says which one counts, and remembers it on this device. */

import { useSyncExternalStore } from "react";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "mainspring.theme";
const watchers = new Set<() => void>();

function read(): Theme {
  const kept = localStorage.getItem(KEY);
  return THEMES.find((theme) => theme === kept) ?? "system";
}

export function applyTheme(): void {
  document.documentElement.dataset.theme = read();
}

export function setTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  applyTheme();
  for (const watcher of watchers) watcher();
}

export function useTheme(): Theme {
  return useSyncExternalStore((watcher) => {
    watchers.add(watcher);
    return () => void watchers.delete(watcher);
  }, read);
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");

/** Whether the dark theme is the one that counts: for what is not made of the style sheet. */
export function useIsDark(): boolean {
  const theme = useTheme();
  const isSystemDark = useSyncExternalStore(
    (watcher) => {
      systemDark.addEventListener("change", watcher);
      return () => systemDark.removeEventListener("change", watcher);
    },
    () => systemDark.matches,
  );
  return theme === "system" ? isSystemDark : theme === "dark";
}
