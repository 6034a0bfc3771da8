import { useQuery } from "@tanstack/react-query";
import { chatQuery } from "../api/chats";
import { ApiError } from "../api/client";
import { Tile } from "../presets/Tile";
import { TopBar } from "../shell/Shell";
import { strings } from "../strings";
import { useTitle } from "../ui/title";
import { ChatMenu } from "./ChatMenu";
import { Conversation } from "./Conversation";
import { Notice } from "./Notice";
import { useTurnStore } from "./store";

interface Props {
  id: string;
  at: string | undefined;
}

export function ChatPage({ id, at }: Props) {
  const chat = useQuery(chatQuery(id));
  const store = useTurnStore(id);
  const title = chat.data ? chat.data.title || strings.chats.untitled : "";
  const preset = chat.data?.settings.preset;
  useTitle(title);
  const isGone = chat.error instanceof ApiError && chat.error.status === 404;
  return (
    <>
      <TopBar title={title}>
        {preset && (
          <span className="flex min-w-0 items-center gap-2 ps-1 text-soft text-sm" title={preset.name}>
            <Tile {...preset} />
            <span className="max-w-48 truncate max-sm:sr-only" dir="auto">
              {preset.name}
            </span>
          </span>
        )}
        {chat.data && <ChatMenu chat={chat.data} />}
      </TopBar>
      <main className="flex min-h-0 flex-1 flex-col">
        {chat.data && store ? (
          <Conversation chat={chat.data} store={store} at={at} />
        ) : (
          <Notice text={isGone ? strings.chats.gone : (chat.error?.message ?? strings.turn.loading)} />
        )}
      </main>
    </>
  );
}
