/** The assistants of a person, and those that the project shares. Loaded with its address. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { useAttempt } from "../chat/attempt";
import { Notice } from "../chat/Notice";
import { TopBar } from "../shell/Shell";
import { Button, IconButton } from "../ui/Button";
import { downloadJson } from "../ui/download";
import { Icon } from "../ui/Icon";
import { useTitle } from "../ui/title";
import { createPreset, type Preset, type PresetFields, presetsQuery } from "./api";
import { PresetCard } from "./PresetCard";
import PresetEditor from "./PresetEditor";
import { exported, fileName, imported } from "./preset";
import { strings } from "./strings";

export function PresetsPage() {
  const { data: presets, error, refetch } = useQuery(presetsQuery);
  const [edited, setEdited] = useState<Preset | "new" | null>(null);
  const [told, setTold] = useState("");
  const { problem, attempt } = useAttempt();
  const client = useQueryClient();
  const chooser = useRef<HTMLInputElement>(null);
  useTitle(strings.title);

  const take = (file: File) =>
    attempt(async () => {
      setTold("");
      const found = await presetsIn(file);
      for (const each of found) await createPreset(each);
      setTold(strings.imported(found.length));
      await client.invalidateQueries({ queryKey: presetsQuery.queryKey });
    });
  const named = presets?.toSorted((a, b) => a.name.localeCompare(b.name)) ?? [];
  const mine = named.filter((each) => each.mine);
  return (
    <>
      <TopBar title={strings.title}>
        <input
          ref={chooser}
          type="file"
          accept="application/json,.json"
          aria-label={strings.import}
          hidden
          onChange={({ target }) => {
            const [file] = target.files ?? [];
            target.value = "";
            if (file) void take(file);
          }}
        />
        {mine.length > 0 && (
          <IconButton label={strings.exportAll} onClick={() => downloadJson(fileName(mine), exported(mine))}>
            <Icon name="download" />
          </IconButton>
        )}
        <IconButton label={strings.import} onClick={() => chooser.current?.click()}>
          <Icon name="upload" />
        </IconButton>
        <Button look="primary" onClick={() => setEdited("new")}>
          <Icon name="plus" className="size-4" />
          <span className="max-sm:sr-only">{strings.new}</span>
        </Button>
      </TopBar>
      <main className="flex min-h-0 flex-1 flex-col overflow-y-auto">
        <div className="mx-auto flex w-full max-w-5xl flex-col gap-6 px-4 pt-2 pb-10 sm:px-6">
          <p className="text-soft text-sm">{strings.about}</p>
          <p role="alert" className="rounded-lg bg-danger-soft px-3 py-2 text-danger text-sm empty:hidden">
            {problem}
          </p>
          <p role="status" className="text-good text-sm empty:hidden">
            {told}
          </p>
          {presets === undefined ? (
            <Notice text={error?.message ?? strings.loading} {...(error && { onRetry: () => void refetch() })} />
          ) : (
            <>
              <Cards title={strings.yours} presets={mine} onEdit={setEdited} attempt={attempt} />
              <Cards
                title={strings.shared}
                presets={named.filter((each) => !each.mine)}
                onEdit={setEdited}
                attempt={attempt}
              />
            </>
          )}
        </div>
      </main>
      {edited !== null && (
        <PresetEditor preset={edited === "new" ? undefined : edited} onClose={() => setEdited(null)} />
      )}
    </>
  );
}

async function presetsIn(file: File): Promise<Partial<PresetFields>[]> {
  try {
    return imported(await file.text());
  } catch {
    throw new Error(strings.importFailed);
  }
}

interface CardsProps {
  title: string;
  presets: Preset[];
  onEdit: (preset: Preset) => void;
  attempt: ReturnType<typeof useAttempt>["attempt"];
}

function Cards({ title, presets, onEdit, attempt }: CardsProps) {
  if (presets.length === 0 && title !== strings.yours) return null;
  return (
    <section aria-label={title} className="flex flex-col gap-3">
      <h2 className="font-medium text-soft text-sm">{title}</h2>
      {presets.length === 0 && <p className="text-soft">{strings.none}</p>}
      <ul className="grid gap-3 sm:grid-cols-2 xl:grid-cols-3">
        {presets.map((preset) => (
          <PresetCard key={preset.id} preset={preset} onEdit={() => onEdit(preset)} attempt={attempt} />
        ))}
      </ul>
    </section>
  );
}
