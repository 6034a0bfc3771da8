/** How files get into a chat: chosen, or dropped anywhere on the page. */

import { useEffect, useRef, useState } from "react";
import { strings } from "../../strings";
import { IconButton } from "../../ui/Button";
import { Icon } from "../../ui/Icon";

export function AttachButton({ onFiles }: { onFiles: (files: FileList) => void }) {
  const chooser = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={chooser}
        type="file"
        multiple
        hidden
        onChange={({ target }) => {
          if (target.files) onFiles(target.files);
          // So that the same file can be chosen again.
          target.value = "";
        }}
      />
      <IconButton label={strings.composer.attach} onClick={() => chooser.current?.click()}>
        <Icon name="paperclip" />
      </IconButton>
    </>
  );
}

/** Takes what is dropped on the page; whether something is held over it. Otherwise a browser would leave for the file. */
export function useDropped(onFiles: (files: FileList) => void): boolean {
  const [isOver, setIsOver] = useState(false);
  const latest = useRef(onFiles);
  useEffect(() => {
    latest.current = onFiles;
  });
  useEffect(() => {
    const listening = new AbortController();
    const on = (type: "dragover" | "dragleave" | "drop", act: (event: DragEvent) => void) =>
      document.addEventListener(type, act, { signal: listening.signal });
    on("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setIsOver(true);
    });
    on("dragleave", (event) => event.relatedTarget === null && setIsOver(false));
    on("drop", (event) => {
      setIsOver(false);
      const { files } = event.dataTransfer ?? {};
      if (!files?.length) return;
      event.preventDefault();
      latest.current(files);
    });
    return () => listening.abort();
  }, []);
  return isOver;
}
