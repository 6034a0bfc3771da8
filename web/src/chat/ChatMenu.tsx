/** What can be done with a chat as a whole. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { type FormEvent, lazy, Suspense, useState } from "react";
import { deleteChat, knownFolders, noteChat, updateChat } from "../api/chats";
import type { Chat, ChatUpdate } from "../api/types";
import { strings } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Confirm, Dialog, DialogActions } from "../ui/Dialog";
import { Field } from "../ui/Field";
import { Icon } from "../ui/Icon";
import { Menu, MenuItem } from "../ui/Menu";

const ShareDialog = lazy(async () => ({ default: (await import("../share/ShareDialog")).ShareDialog }));

export function ChatMenu({ chat, className = "" }: { chat: Chat; className?: string }) {
  const [dialog, setDialog] = useState<"edit" | "share" | "delete" | null>(null);
  const client = useQueryClient();
  const navigate = useNavigate();
  const { chatId } = useParams({ strict: false });
  const title = chat.title || strings.chats.untitled;

  const update = useMutation({
    mutationFn: (change: ChatUpdate) => updateChat(chat.id, change),
    onSuccess: (updated) => noteChat(client, updated),
  });
  const remove = useMutation({
    mutationFn: async () => {
      await deleteChat(chat.id);
      await (await import("./files/forget")).forgetFiles(chat);
    },
    onSuccess: async () => {
      if (chatId === chat.id) await navigate({ to: "/" });
      client.removeQueries({ queryKey: ["chat", chat.id] });
      await client.invalidateQueries({ queryKey: ["chats"] });
    },
  });

  const trigger = (
    <IconButton label={strings.chats.menu(title)} className={className}>
      <Icon name="dots" />
    </IconButton>
  );
  return (
    <>
      <Menu trigger={trigger} align="end">
        <MenuItem
          icon={<Icon name="pin" className="size-4" />}
          onSelect={() => update.mutate({ pinned: !chat.pinned })}
        >
          {chat.pinned ? strings.chats.unpin : strings.chats.pin}
        </MenuItem>
        <MenuItem icon={<Icon name="pencil" className="size-4" />} onSelect={() => setDialog("edit")}>
          {strings.chats.edit}
        </MenuItem>
        <MenuItem icon={<Icon name="share" className="size-4" />} onSelect={() => setDialog("share")}>
          {strings.share.menu}
        </MenuItem>
        <MenuItem icon={<Icon name="trash" className="size-4" />} onSelect={() => setDialog("delete")}>
          {strings.chats.delete}
        </MenuItem>
      </Menu>
      {dialog === "edit" && <EditDialog chat={chat} onSave={update.mutate} onClose={() => setDialog(null)} />}
      {dialog === "share" && (
        <Suspense>
          <ShareDialog chat={chat} onClose={() => setDialog(null)} />
        </Suspense>
      )}
      {dialog === "delete" && (
        <Confirm
          title={strings.chats.deleteTitle}
          text={strings.chats.deleteText(title)}
          onConfirm={remove.mutate}
          onClose={() => setDialog(null)}
        />
      )}
    </>
  );
}

interface EditProps {
  chat: Chat;
  onSave: (change: ChatUpdate) => void;
  onClose: () => void;
}

function EditDialog({ chat, onSave, onClose }: EditProps) {
  const [title, setTitle] = useState(chat.title);
  const [folder, setFolder] = useState(chat.folder);
  const [tags, setTags] = useState(chat.tags.join(", "));
  const client = useQueryClient();

  const save = (event: FormEvent, close: () => void) => {
    event.preventDefault();
    close();
    const list = tags.split(",").map((tag) => tag.trim().replace(/^#/, ""));
    onSave({ title: title.trim(), folder: folder.trim(), tags: [...new Set(list)].filter(Boolean) });
  };
  return (
    <Dialog title={strings.chats.editTitle} onClose={onClose}>
      {(close) => (
        <form onSubmit={(event) => save(event, close)} className="flex flex-col gap-4">
          <Field label={strings.chats.title} value={title} onChange={(event) => setTitle(event.target.value)} />
          <Field
            label={strings.chats.folder}
            hint={strings.chats.folderHint}
            suggestions={knownFolders(client)}
            value={folder}
            onChange={(event) => setFolder(event.target.value)}
          />
          <Field
            label={strings.chats.tags}
            hint={strings.chats.tagsHint}
            value={tags}
            onChange={(event) => setTags(event.target.value)}
          />
          <DialogActions>
            <Button onClick={close}>{strings.actions.cancel}</Button>
            <Button look="primary" type="submit">
              {strings.actions.save}
            </Button>
          </DialogActions>
        </form>
      )}
    </Dialog>
  );
}
