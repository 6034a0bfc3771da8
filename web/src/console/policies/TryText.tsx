/** What the classifier sees in a text. */

import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { post } from "../../api/client";
import { Button } from "../../ui/Button";
import { TextField } from "../../ui/Field";
import { inProject } from "../data/lists";
import { format } from "../parts/format";
import { Meter } from "../parts/Meter";
import { Card, Problem } from "../parts/Page";
import { words } from "../strings";

interface Found {
  flagged: boolean;
  categories: Record<string, boolean>;
  category_scores: Record<string, number>;
}

export function TryText({ project }: { project: string }) {
  const [text, setText] = useState("");
  const look = useMutation({
    mutationFn: async (input: string) =>
      (await post<{ results: Found[] }>(inProject(project, "moderations"), { input })).results[0],
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    look.mutate(text);
  };
  return (
    <Card className="p-4">
      <form onSubmit={submit} className="flex flex-col gap-3">
        <TextField
          label={words.policies.text}
          hint={words.policies.tryHint}
          rows={3}
          required
          dir="auto"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <Button look="primary" type="submit" className="self-start" disabled={text.trim() === "" || look.isPending}>
          {words.policies.look}
        </Button>
      </form>
      <div aria-live="polite" className="mt-4 flex flex-col gap-3 empty:hidden">
        <Problem error={look.error} />
        {look.data && <Scores found={look.data} />}
      </div>
    </Card>
  );
}

function Scores({ found: { flagged, categories, category_scores } }: { found: Found }) {
  const scores = Object.entries(category_scores).sort(([, one], [, other]) => other - one);
  return (
    <>
      <p className={`font-medium text-sm ${flagged ? "text-danger" : "text-good"}`}>
        {flagged ? words.policies.flagged : words.policies.notFlagged}
      </p>
      <ul className="grid gap-x-6 gap-y-2.5 sm:grid-cols-2">
        {scores.map(([name, score]) => (
          <li key={name} className="flex items-center gap-3 text-sm">
            <span className={`flex-1 ${categories[name] ? "font-semibold text-danger" : ""}`}>{name}</span>
            <span className="w-32">
              <Meter
                label={name}
                value={score}
                most={1}
                text={format.decimal(score)}
                isLimit={categories[name] === true}
              />
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}
