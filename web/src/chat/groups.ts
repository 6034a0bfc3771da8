/** The list of chats in sections: pinned ones, folders, then the rest by day. */

import type { Chat } from "../api/types";
import { strings } from "../strings";

export interface Section {
  title: string;
  chats: Chat[];
}

const DAY_MS = 86_400_000;

export function sectionsOf(chats: Chat[], now: Date): Section[] {
  const pinned = chats.filter((chat) => chat.pinned);
  const filed = chats.filter((chat) => !chat.pinned && chat.folder);
  const others = chats.filter((chat) => !chat.pinned && !chat.folder);
  return [
    ...sections(pinned, () => strings.chats.pinned),
    ...sections(filed, (chat) => chat.folder).sort((a, b) => a.title.localeCompare(b.title, strings.locale)),
    ...sections(others, (chat) => dayTitle(new Date(chat.updated_at * 1000), now)),
  ];
}

function sections(chats: Chat[], titleOf: (chat: Chat) => string): Section[] {
  const byTitle = new Map<string, Chat[]>();
  for (const chat of chats) byTitle.set(titleOf(chat), [...(byTitle.get(titleOf(chat)) ?? []), chat]);
  return [...byTitle].map(([title, list]) => ({ title, chats: list }));
}

function dayTitle(day: Date, now: Date): string {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const daysAgo = Math.ceil((midnight - day.getTime()) / DAY_MS);
  if (daysAgo <= 0) return strings.chats.today;
  if (daysAgo === 1) return strings.chats.yesterday;
  if (daysAgo <= 7) return strings.chats.lastWeek;
  if (daysAgo <= 30) return strings.chats.lastMonth;
  return day.toLocaleDateString(strings.locale, { month: "long", year: "numeric" });
}
