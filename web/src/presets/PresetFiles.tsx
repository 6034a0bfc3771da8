/** The files that an assistant answers from. They are in its store as soon as they are chosen. */

import { useSyncExternalStore } from "react";
import { AttachButton } from "../chat/files/Attach";
import Chips from "../chat/files/Chips";
import type { Shelf } from "../chat/files/shelf";
import { strings } from "./strings";

export function PresetFiles({ shelf }: { shelf: Shelf }) {
  const hasFiles = useSyncExternalStore(shelf.subscribe, shelf.hasFiles);
  return (
    <section aria-label={strings.form.files} className="flex flex-col gap-1.5">
      <div className="flex items-center gap-1">
        <h3 className="font-medium text-sm">{strings.form.files}</h3>
        <AttachButton onFiles={(files) => shelf.add(files)} />
      </div>
      {hasFiles && <Chips shelf={shelf} />}
      <p className="text-soft text-xs">{strings.form.filesHint}</p>
    </section>
  );
}
