import { expect, test } from "vitest";
import type { Chat } from "../api/types";
import { sectionsOf } from "./groups";

const NOW = new Date(2026, 4, 20, 12);

function chat(id: string, daysAgo: number, rest: Partial<Chat> = {}): Chat {
  const updated_at = new Date(2026, 4, 20 - daysAgo, 9).getTime() / 1000;
  return {
    id,
    created_at: 0,
    updated_at,
    title: id,
    folder: "",
    tags: [],
    pinned: false,
    head: null,
    settings: {},
    ...rest,
  };
}

test("pinned chats come first, then folders by name, then days", () => {
  const chats = [
    chat("now", 0),
    chat("filed", 0, { folder: "Work" }),
    chat("pinned", 3, { pinned: true, folder: "Work" }),
    chat("late", 1),
    chat("also filed", 5, { folder: "Home" }),
    chat("week", 4),
    chat("month", 20),
    chat("old", 100),
  ];
  expect(sectionsOf(chats, NOW).map(({ title, chats }) => [title, ...chats.map((each) => each.id)])).toEqual([
    ["Pinned", "pinned"],
    ["Home", "also filed"],
    ["Work", "filed"],
    ["Today", "now"],
    ["Yesterday", "late"],
    ["Last 7 days", "week"],
    ["Last 30 days", "month"],
    ["February 2026", "old"],
  ]);
});
