/** A file of the project, chosen among those that are there or uploaded. What the server says of its lines is shown here. */

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type ChangeEvent, useEffect, useId, useRef, useState } from "react";
import { Button } from "../../ui/Button";
import { described, FIELD, Labelled } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { filesQuery, type Purpose, uploadFile } from "../data/files";
import { useProject } from "../data/project";
import { format } from "../parts/format";
import { words } from "../strings";

interface Props {
  label: string;
  hint?: string;
  wrong: string | undefined;
  name: string;
  purpose: Purpose;
  isOptional?: boolean;
}

export function FilePick({ label, hint, wrong, name, purpose, isOptional = false }: Props) {
  const id = useId();
  const project = useProject();
  const files = useQuery(filesQuery(project, purpose));
  const [chosen, setChosen] = useState("");
  const { sending, part, send } = useUpload(project, purpose, setChosen);
  const select = useRef<HTMLSelectElement>(null);
  useEffect(
    () => select.current?.setCustomValidity(sending.isPending ? words.jobs.stillUploading : ""),
    [sending.isPending],
  );
  const said = sending.error?.message ?? files.error?.message ?? wrong;
  return (
    <Labelled id={id} label={label} hint={hint} wrong={said}>
      <select
        ref={select}
        {...described(id, { hint, wrong: said })}
        name={name}
        value={chosen}
        required={!isOptional}
        onChange={(event) => {
          sending.reset();
          setChosen(event.target.value);
        }}
        className={FIELD}
      >
        <option value="">{isOptional ? words.jobs.noFile : words.jobs.chooseFile}</option>
        {files.data?.map((file) => (
          <option key={file.id} value={file.id}>
            {words.jobs.fileOf(file.filename, format.bytes(file.bytes), format.dateTime(file.created_at))}
          </option>
        ))}
      </select>
      <UploadButton about={label} isBusy={sending.isPending} part={part} onFile={send} />
    </Labelled>
  );
}

/** Sends a file, which is then among those that can be chosen, and is the chosen one. Stops with the form. */
function useUpload(project: string, purpose: Purpose, choose: (id: string) => void) {
  const client = useQueryClient();
  const [part, setPart] = useState(0);
  const stop = useRef<AbortController>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const sending = useMutation({
    mutationFn: (file: File) => {
      stop.current = new AbortController();
      setPart(0);
      return uploadFile(project, purpose, file, setPart, stop.current.signal);
    },
    onSuccess: async (made) => {
      const { queryKey } = filesQuery(project, purpose);
      await client.cancelQueries({ queryKey });
      client.setQueryData(queryKey, (before = []) => [made, ...before.filter((each) => each.id !== made.id)]);
      choose(made.id);
    },
  });
  return { sending, part, send: sending.mutate };
}

interface UploadProps {
  about: string;
  isBusy: boolean;
  part: number;
  onFile: (file: File) => void;
}

function UploadButton({ about, isBusy, part, onFile }: UploadProps) {
  const input = useRef<HTMLInputElement>(null);
  const take = ({ target }: ChangeEvent<HTMLInputElement>) => {
    const file = target.files?.[0];
    if (file) onFile(file);
    // The same file again, corrected, is a change too.
    target.value = "";
  };
  return (
    <div className="flex items-center gap-2">
      <Button
        look="outline"
        disabled={isBusy}
        aria-label={`${words.jobs.upload}: ${about}`}
        onClick={() => input.current?.click()}
      >
        <Icon name="upload" className="size-4" />
        {words.jobs.upload}
      </Button>
      <input
        ref={input}
        type="file"
        hidden
        aria-label={`${words.jobs.upload}: ${about}`}
        accept=".jsonl,.ndjson,.json"
        onChange={take}
      />
      <span role="status" className="text-soft text-xs tabular-nums">
        {isBusy && words.jobs.uploading(part)}
      </span>
    </div>
  );
}
