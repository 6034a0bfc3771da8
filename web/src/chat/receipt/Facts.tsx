/** What is known of one run of the model, line by line. */

import type { Generation, Receipt, Weights } from "./api";
import { strings } from "./strings";

const say = strings.facts;

/** A name and what it is; hashes are set as code. */
type Row = [name: string, value: string | null, isCode?: boolean];

export function Facts({ receipt, made }: { receipt: Receipt; made: Generation }) {
  const rows = [...ofModel(receipt, made), ...ofRun(made), ...ofAnswer(receipt, made)];
  return (
    <dl className="grid grid-cols-1 gap-x-4 rounded-xl border border-line px-3.5 py-1.5 text-sm sm:grid-cols-[minmax(9rem,auto)_1fr]">
      {rows.map(([name, value, isCode]) => (
        <div key={name} className="contents">
          <dt className="pt-1.5 text-soft sm:pb-1.5">{name}</dt>
          <dd className={`min-w-0 break-words pb-1.5 sm:pt-1.5 ${isCode ? "break-all font-mono text-xs" : ""}`}>
            {value ?? say.nobody}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function ofModel(receipt: Receipt, { weights, adapter, deployment, engine }: Generation): Row[] {
  const settings = Object.entries(engine?.settings ?? {}).map(([name, value]) => `${name} ${value}`);
  return [
    [say.made, strings.date(receipt.created_at)],
    [say.status, receipt.status],
    [say.model, weights?.model ?? null],
    ...(weights?.model.startsWith(`${deployment}@`) ? [] : [[say.deployment, deployment] satisfies Row]),
    ...(weights ? ofWeights(weights) : []),
    ...(adapter ? [[say.adapter, adapter.model] satisfies Row, ...ofWeights(adapter, true)] : []),
    [say.engine, engine && `${engine.name}, ${engine.build}`],
    ...(engine?.processor ? [[say.processor, engine.processor] satisfies Row] : []),
    ...(settings.length > 0 ? [[say.settings, settings.join(", ")] satisfies Row] : []),
  ];
}

function ofWeights({ format, files, base, made_by }: Weights, isAdapter = false): Row[] {
  return [
    ...(isAdapter ? [] : [[say.format, format] satisfies Row]),
    ...files.map(({ path, sha256 }): Row => [say.file(path), sha256 || null, true]),
    ...(base ? [[say.base, base] satisfies Row] : []),
    ...(made_by ? [[say.job, made_by] satisfies Row] : []),
  ];
}

function ofRun({ drawing, max_tokens, computed_together, guessed_tokens }: Generation): Row[] {
  const seed = drawing.seed === null ? null : String(drawing.seed);
  const others = computed_together === null ? null : computed_together - 1;
  return [
    [say.seed, seed && (drawing.seed_was_given ? say.seedOwn(seed) : say.seedDrawn(seed))],
    [say.temperature, String(drawing.temperature)],
    [say.topP, String(drawing.top_p)],
    [say.maxTokens, max_tokens === null ? say.unlimited : strings.tokens(max_tokens)],
    [say.together, others === null ? null : others === 0 ? say.alone : say.others(others)],
    [say.guessed, guessed_tokens === null ? null : String(guessed_tokens)],
  ];
}

function ofAnswer(receipt: Receipt, { prompt, cached_tokens, tokens, finish_reason }: Generation): Row[] {
  return [
    [say.promptTokens, prompt && say.cached(prompt.tokens, cached_tokens ?? 0)],
    [say.promptHash, prompt?.tokens_sha256 ?? null, true],
    [say.answerTokens, tokens === null ? null : strings.tokens(tokens)],
    [say.answerHash, receipt.answer.text_sha256, true],
    [say.finish, finish_reason],
    [say.receipt, receipt.sha256, true],
  ];
}
