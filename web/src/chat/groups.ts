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
  const others = chats.filter((chat) => !chat.pinned);
  const byFolder = Map.groupBy(
    others.filter((chat) => chat.folder),
    (chat) => chat.folder,
  );
  const byDay = Map.groupBy(
    others.filter((chat) => !chat.folder),
    (chat) => dayTitle(new Date(chat.updated_at * 1000), now),
  );
  const folders = [...byFolder].sort(([a], [b]) => a.localeCompare(b, strings.locale));
  const sections: [string, Chat[]][] = [[strings.chats.pinned, pinned], ...folders, ...byDay];
  return sections.filter(([, list]) => list.length > 0).map(([title, list]) => ({ title, chats: list }));
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
