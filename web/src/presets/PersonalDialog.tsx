/** What a person wants all of their chats to be told. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useAttempt } from "../chat/attempt";
import { strings as shared } from "../strings";
import { Button } from "../ui/Button";
import { Check } from "../ui/Check";
import { Dialog, DialogActions } from "../ui/Dialog";
import { TextField } from "../ui/Field";
import { type KeptPersonal, type Personal, personalQuery, putPersonal } from "./api";
import { strings } from "./strings";

const MOST = 1500;

export default function PersonalDialog({ onClose }: { onClose: () => void }) {
  const { data, error } = useQuery({ ...personalQuery, staleTime: 0 });
  return (
    <Dialog title={strings.personal.title} place="wide" onClose={onClose}>
      {(close) =>
        data ? <Form before={data} onDone={close} /> : <p className="text-soft">{error?.message ?? strings.loading}</p>
      }
    </Dialog>
  );
}

function Form({ before, onDone }: { before: KeptPersonal; onDone: () => void }) {
  // Whoever opens this for the first time means what they write to count.
  const [personal, setPersonal] = useState<Personal>({
    ...before,
    enabled: before.updated_at === null || before.enabled,
  });
  const { problem, attempt } = useAttempt();
  const client = useQueryClient();
  const change = (some: Partial<Personal>) => setPersonal({ ...personal, ...some });

  const save = async (event: FormEvent) => {
    event.preventDefault();
    const isKept = await attempt(async () => client.setQueryData(personalQuery.queryKey, await putPersonal(personal)));
    if (isKept) onDone();
  };
  return (
    <form onSubmit={(event) => void save(event)} className="flex flex-1 flex-col gap-4">
      <Check
        label={strings.personal.enabled}
        hint={strings.personal.enabledHint}
        isChecked={personal.enabled}
        onChange={(enabled) => change({ enabled })}
      />
      {(["about", "style"] as const).map((name) => (
        <TextField
          key={name}
          label={strings.personal[name]}
          hint={strings.personal.left(MOST - personal[name].length)}
          rows={5}
          dir="auto"
          maxLength={MOST}
          value={personal[name]}
          onChange={(event) => change({ [name]: event.target.value })}
        />
      ))}
      <Check
        label={strings.personal.temporary}
        isChecked={personal.in_temporary}
        onChange={(in_temporary) => change({ in_temporary })}
      />
      <p role="alert" className="text-danger text-sm empty:hidden">
        {problem}
      </p>
      <DialogActions>
        <Button onClick={onDone}>{shared.actions.cancel}</Button>
        <Button look="primary" type="submit">
          {shared.actions.save}
        </Button>
      </DialogActions>
    </form>
  );
}
