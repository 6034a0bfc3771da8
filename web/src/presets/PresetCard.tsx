/** An assistant, and what can be done with it. */

import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Attempt } from "../chat/attempt";
import { removeStore } from "../chat/files/api";
import { strings as shared } from "../strings";
import { Button, IconButton } from "../ui/Button";
import { Check } from "../ui/Check";
import { Dialog, DialogActions } from "../ui/Dialog";
import { downloadJson } from "../ui/download";
import { Icon } from "../ui/Icon";
import { Menu, MenuItem } from "../ui/Menu";
import { createPreset, deletePreset, type Preset, presetsQuery } from "./api";
import { copyFiles } from "./files";
import { copyOf, exported, fileName } from "./preset";
import { strings } from "./strings";
import { Tile } from "./Tile";

interface Props {
  preset: Preset;
  onEdit: () => void;
  attempt: Attempt;
}

export function PresetCard({ preset, onEdit, attempt }: Props) {
  const [asksToDelete, setAsksToDelete] = useState(false);
  const client = useQueryClient();
  const { id, name, description, mine } = preset;

  const changed = (act: () => Promise<unknown>) =>
    void attempt(async () => {
      await act();
      await client.invalidateQueries({ queryKey: presetsQuery.queryKey });
    });
  const duplicate = async () => {
    const store = preset.vector_store && (await copyFiles(preset.vector_store));
    await createPreset({ ...copyOf(preset, strings.copyName(name)), vector_store: store });
  };
  const remove = async (withFiles: boolean) => {
    await deletePreset(id);
    if (withFiles && preset.vector_store) await removeStore(preset.vector_store);
  };

  return (
    <li className="flex flex-col gap-3 rounded-2xl border border-line bg-raised p-4">
      <div className="flex items-start gap-3">
        <Tile {...preset} className="size-11 rounded-xl text-xl" />
        <div className="min-w-0 flex-1">
          <h3 className="break-words font-medium" dir="auto">
            {name}
          </h3>
          <p className="line-clamp-3 break-words text-soft text-sm" dir="auto">
            {description}
          </p>
        </div>
        <Menu
          align="end"
          trigger={
            <IconButton label={strings.menu(name)} className="-me-2 -mt-1.5">
              <Icon name="dots" />
            </IconButton>
          }
        >
          {mine && (
            <MenuItem icon={<Icon name="pencil" className="size-4" />} onSelect={onEdit}>
              {strings.edit}
            </MenuItem>
          )}
          <MenuItem icon={<Icon name="copy" className="size-4" />} onSelect={() => changed(duplicate)}>
            {strings.duplicate}
          </MenuItem>
          <MenuItem
            icon={<Icon name="download" className="size-4" />}
            onSelect={() => downloadJson(fileName([preset]), exported([preset]))}
          >
            {strings.export}
          </MenuItem>
          {mine && (
            <MenuItem icon={<Icon name="trash" className="size-4" />} onSelect={() => setAsksToDelete(true)}>
              {strings.delete}
            </MenuItem>
          )}
        </Menu>
      </div>
      <div className="mt-auto flex items-center gap-2">
        <Link
          to="/"
          search={{ assistant: id }}
          aria-label={strings.startWith(name)}
          className="inline-flex min-h-9 items-center rounded-lg border border-line px-3.5 py-1.5 font-medium text-sm hover:bg-hover"
        >
          {strings.start}
        </Link>
        <span className="ms-auto min-w-0 truncate text-soft text-xs">
          {[preset.settings.model, mine && preset.shared && strings.isShared].filter(Boolean).join(" · ")}
        </span>
      </div>
      {asksToDelete && (
        <DeleteDialog
          preset={preset}
          onDelete={(withFiles) => changed(() => remove(withFiles))}
          onClose={() => setAsksToDelete(false)}
        />
      )}
    </li>
  );
}

interface DeleteProps {
  preset: Preset;
  onDelete: (withFiles: boolean) => void;
  onClose: () => void;
}

function DeleteDialog({ preset, onDelete, onClose }: DeleteProps) {
  const [withFiles, setWithFiles] = useState(false);
  const confirm = (close: () => void) => {
    close();
    onDelete(withFiles);
  };
  return (
    <Dialog title={strings.deleteTitle} onClose={onClose}>
      {(close) => (
        <>
          <p className="break-words text-soft">{strings.deleteText(preset.name)}</p>
          {preset.vector_store !== null && (
            <Check
              label={strings.deleteFiles}
              hint={strings.deleteFilesHint}
              isChecked={withFiles}
              onChange={setWithFiles}
            />
          )}
          <DialogActions>
            <Button onClick={close}>{shared.actions.cancel}</Button>
            <Button look="danger" onClick={() => confirm(close)}>
              {shared.actions.delete}
            </Button>
          </DialogActions>
        </>
      )}
    </Dialog>
  );
}
