/** The links to a chat: made, copied and withdrawn. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { Chat, ChatShare } from "../api/types";
import { strings } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { CopyButton } from "../ui/CopyButton";
import { Dialog, DialogActions } from "../ui/Dialog";
import { Icon } from "../ui/Icon";
import { addressOf, createShare, removeShare, sharesQuery } from "./api";

const when = new Intl.DateTimeFormat(strings.locale, { dateStyle: "medium", timeStyle: "short" });

export function ShareDialog({ chat, onClose }: { chat: Chat; onClose: () => void }) {
  const client = useQueryClient();
  const shares = useQuery(sharesQuery(chat.id));
  const again = () => client.invalidateQueries({ queryKey: sharesQuery(chat.id).queryKey });
  const create = useMutation({ mutationFn: () => createShare(chat.id), onSuccess: again });
  const withdraw = useMutation({ mutationFn: (share: string) => removeShare(chat.id, share), onSuccess: again });
  const problem = shares.error ?? create.error ?? withdraw.error;

  return (
    <Dialog title={strings.share.title} onClose={onClose}>
      {() => (
        <>
          <p className="text-soft text-sm">{strings.share.text}</p>
          {problem && (
            <p role="alert" className="text-danger text-sm">
              {problem.message}
            </p>
          )}
          <ul className="flex flex-col gap-2">
            {shares.data?.map((share) => (
              <ShareLine key={share.id} share={share} onWithdraw={() => withdraw.mutate(share.id)} />
            ))}
          </ul>
          <DialogActions>
            <Button look="primary" disabled={create.isPending || chat.head === null} onClick={() => create.mutate()}>
              {strings.share.create}
            </Button>
          </DialogActions>
        </>
      )}
    </Dialog>
  );
}

function ShareLine({ share, onWithdraw }: { share: ChatShare; onWithdraw: () => void }) {
  const address = addressOf(share.id);
  return (
    <li className="flex items-center gap-1 rounded-lg border border-line ps-3">
      <a href={address} target="_blank" rel="noopener noreferrer" className="min-w-0 flex-1 truncate text-sm">
        {strings.share.made(when.format(share.created_at * 1000))}
      </a>
      <CopyButton label={strings.share.copy} text={() => address} />
      <IconButton label={strings.share.withdraw} onClick={onWithdraw}>
        <Icon name="trash" className="size-4" />
      </IconButton>
    </li>
  );
}
