/** What a link leads to, for everybody who has it: to be read, and nothing else. */

import { useQuery } from "@tanstack/react-query";
import { Answer } from "../chat/Answer";
import { questionText } from "../chat/items";
import { QuestionText } from "../chat/Question";
import { strings } from "../strings";
import { Icon } from "../ui/Icon";
import { useTitle } from "../ui/title";
import { sharedQuery } from "./api";

export default function SharedPage({ share }: { share: string }) {
  const { data: chat, error } = useQuery(sharedQuery(share));
  const title = chat ? chat.title || strings.chats.untitled : "";
  useTitle(title);

  return (
    <div className="h-full overflow-y-auto">
      <header className="mx-auto flex max-w-3xl items-center gap-3 px-4 pt-6 sm:px-6">
        <Icon name="mark" className="size-6 text-brass" />
        <p className="text-soft text-sm">{strings.share.about}</p>
      </header>
      <main className="mx-auto max-w-3xl px-4 pb-12 sm:px-6">
        <h1 className="py-4 font-semibold text-2xl tracking-tight" dir="auto">
          {title}
        </h1>
        {!chat && <p className="text-soft">{error?.message ?? strings.turn.loading}</p>}
        {chat?.turns.map((turn) => (
          <article key={turn.id} className="flex flex-col gap-4 py-4">
            <div className="flex justify-end">
              <QuestionText text={questionText(turn.input)} />
            </div>
            <Answer turn={turn} showsWords={false} />
          </article>
        ))}
      </main>
    </div>
  );
}
