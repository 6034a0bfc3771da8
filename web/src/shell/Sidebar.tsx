import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ComponentProps, type ReactNode, useDeferredValue, useState } from "react";
import { type ChatFilter, chatsQuery } from "../api/chats";
import { sessionQuery } from "../api/session";
import type { Chat } from "../api/types";
import { ChatMenu } from "../chat/ChatMenu";
import { sectionsOf } from "../chat/groups";
import { strings } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { AccountMenu } from "./AccountMenu";

interface Props {
  onClose: () => void;
  /** Called when a chat was chosen. */
  onLeave?: () => void;
}

export function Sidebar({ onClose, onLeave }: Props) {
  const [search, setSearch] = useState("");
  return (
    <nav aria-label={strings.shell.navigation} className="flex h-full flex-col bg-panel text-sm">
      <div className="flex min-h-13 items-center gap-2 px-3">
        <Link
          to="/"
          onClick={onLeave}
          className="flex min-w-0 flex-1 items-center gap-2 rounded-md font-semibold text-base"
        >
          <Icon name="mark" className="size-6 text-brass" />
          {strings.product}
        </Link>
        <IconButton label={strings.shell.closeNavigation} onClick={onClose} className="-me-1">
          <Icon name="sidebar" />
        </IconButton>
      </div>
      <div className="flex flex-col gap-2 px-3 pb-2">
        <Link
          to="/"
          onClick={onLeave}
          className="flex min-h-9 items-center gap-2 rounded-lg border border-line bg-raised px-3 py-1.5 font-medium hover:bg-hover"
        >
          <Icon name="plus" className="size-4" />
          {strings.chats.new}
        </Link>
        <label className="flex items-center gap-2 rounded-lg border border-line px-3 focus-within:border-accent">
          <Icon name="search" className="size-4 text-soft" />
          <input
            type="search"
            aria-label={strings.chats.search}
            placeholder={strings.chats.search}
            value={search}
            onChange={(event) => setSearch(event.target.value)}
            className="min-h-9 w-full min-w-0 bg-transparent outline-none placeholder:text-soft"
          />
        </label>
      </div>
      <ChatList search={useDeferredValue(search)} onSearch={setSearch} onLeave={onLeave} />
      <div className="border-line border-t p-2">
        <PageLink to="/assistants" icon="assistant" onLeave={onLeave}>
          {strings.shell.assistants}
        </PageLink>
        <PageLink to="/playground" icon="flask" onLeave={onLeave}>
          {strings.shell.playground}
        </PageLink>
        <ConsoleLink onLeave={onLeave} />
      </div>
      <AccountMenu />
    </nav>
  );
}

/** For those whose roles let them do more than ask models. */
function ConsoleLink({ onLeave }: Pick<ListProps, "onLeave">) {
  const { data: session } = useQuery(sessionQuery);
  if (!session?.roles.some((role) => role !== "user")) return null;
  return (
    <PageLink to="/console" icon="gauge" onLeave={onLeave}>
      {strings.shell.console}
    </PageLink>
  );
}

interface PageLinkProps extends Pick<ListProps, "onLeave"> {
  to: "/assistants" | "/playground" | "/console";
  icon: ComponentProps<typeof Icon>["name"];
  children: ReactNode;
}

function PageLink({ to, icon, onLeave, children }: PageLinkProps) {
  return (
    <Link
      to={to}
      onClick={onLeave}
      className="flex min-h-9 items-center gap-2.5 rounded-lg px-2 py-1.5 hover:bg-hover aria-[current=page]:bg-accent-soft aria-[current=page]:font-medium"
    >
      <Icon name={icon} className="size-4 text-soft" />
      {children}
    </Link>
  );
}

/** "#tag words": the first tag, and all that is not one. */
function filterOf(search: string): ChatFilter {
  const tag = /(?:^|\s)#(\S+)/.exec(search)?.[1] ?? "";
  return { tag, query: search.replaceAll(/(?:^|\s)#\S*/g, " ").trim() };
}

interface ListProps {
  search: string;
  onSearch: (search: string) => void;
  onLeave: (() => void) | undefined;
}

function ChatList({ search, onSearch, onLeave }: ListProps) {
  const chats = useInfiniteQuery({ ...chatsQuery(filterOf(search)), placeholderData: keepPreviousData });
  const list = chats.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-4">
      {chats.error && <p className="px-2 py-4 text-danger">{chats.error.message}</p>}
      {chats.isSuccess && list.length === 0 && (
        <p className="px-2 py-4 text-soft">{search === "" ? strings.chats.none : strings.chats.noneFound}</p>
      )}
      {sectionsOf(list, new Date()).map((section) => (
        <section key={section.title} aria-label={section.title}>
          <h2 className="px-2 pt-4 pb-1 font-medium text-soft text-xs" dir="auto">
            {section.title}
          </h2>
          <ul>
            {section.chats.map((chat) => (
              <ChatRow key={chat.id} chat={chat} onSearch={onSearch} onLeave={onLeave} />
            ))}
          </ul>
        </section>
      ))}
      {chats.hasNextPage && (
        <Button className="mt-2 w-full" disabled={chats.isFetchingNextPage} onClick={() => void chats.fetchNextPage()}>
          {strings.chats.more}
        </Button>
      )}
    </div>
  );
}

function ChatRow({ chat, onSearch, onLeave }: Omit<ListProps, "search"> & { chat: Chat }) {
  return (
    <li className="group relative flex items-center rounded-lg hover:bg-hover has-[[aria-current=page]]:bg-accent-soft">
      <Link
        to="/c/$chatId"
        params={{ chatId: chat.id }}
        activeOptions={{ includeSearch: false }}
        onClick={onLeave}
        className="flex min-w-0 flex-1 items-center gap-1.5 rounded-lg px-2 py-1.5 aria-[current=page]:font-medium"
      >
        {chat.pinned && <Icon name="pin" className="size-3.5 text-brass" />}
        <span className="truncate" dir="auto">
          {chat.title || strings.chats.untitled}
        </span>
      </Link>
      {chat.tags.slice(0, 2).map((tag) => (
        <button
          key={tag}
          type="button"
          onClick={() => onSearch(`#${tag}`)}
          className="max-w-20 shrink-0 truncate rounded px-1 text-soft text-xs hover:text-accent"
        >
          #{tag}
        </button>
      ))}
      <ChatMenu
        chat={chat}
        className="opacity-0 focus-visible:opacity-100 group-focus-within:opacity-100 group-hover:opacity-100 data-[state=open]:opacity-100 pointer-coarse:opacity-100"
      />
    </li>
  );
}
