/**
 * An answer as the tokens that it is made of, each coloured by how surprising it was. One that is pointed at, or has the
 * focus, shows what else could have come; choosing that lets the answer regrow from there. Loaded when it is first used.
 */

import * as Popover from "@radix-ui/react-popover";
import { type KeyboardEvent, memo, type SyntheticEvent, useMemo, useRef, useState } from "react";
import type { Part } from "../api/types";
import { strings } from "../strings";
import { surprise, type Word, type Words as WordList, wordsOf } from "./words";

interface Props {
  part: Part;
  onRegrow: (prefix: string) => void;
}

export default function Words({ part, onRegrow }: Props) {
  return <WordsView list={useMemo(() => wordsOf(part), [part])} onRegrow={onRegrow} />;
}

interface ViewProps {
  list: WordList;
  /** Null where an answer cannot regrow. */
  onRegrow: ((prefix: string) => void) | null;
}

export function WordsView({ list: { head, words }, onRegrow }: ViewProps) {
  const [shown, setShown] = useState<{ element: HTMLElement; word: Word } | null>(null);
  const tokens = useRef<HTMLDivElement>(null);
  const choices = useRef<HTMLDivElement>(null);

  const show = ({ target }: SyntheticEvent) => {
    if (!(target instanceof HTMLElement)) return;
    const word = words[placeOf(target)];
    if (word) setShown({ element: target, word });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = stepOf(event);
    if (event.key === "Enter") choices.current?.querySelector<HTMLElement>("button:enabled")?.focus();
    else if (step !== undefined) tokenAt(tokens.current, placeOf(event.target) + step)?.focus();
    else return;
    event.preventDefault();
  };
  // Another token is no reason to close, but to show that one.
  const stayOpen = (event: CustomEvent<{ originalEvent: Event }>) => {
    const { target } = event.detail.originalEvent;
    if (target instanceof Node && tokens.current?.contains(target)) event.preventDefault();
  };

  return (
    <Popover.Root open={shown !== null} onOpenChange={(isOpen) => isOpen || setShown(null)}>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms. */}
      <div
        ref={tokens}
        role="group"
        aria-label={strings.words.label}
        dir="auto"
        className="whitespace-pre-wrap break-words leading-8"
        onPointerOver={show}
        onFocus={show}
        onKeyDown={onKeyDown}
      >
        <span className="text-soft">{head}</span>
        <Tokens words={words} />
      </div>
      {shown && (
        <>
          <Popover.Anchor virtualRef={{ current: shown.element }} />
          <Popover.Portal>
            <Popover.Content
              ref={choices}
              sideOffset={6}
              collisionPadding={8}
              aria-label={strings.words.alternatives}
              // The focus stays where it is, so that the arrow keys lead on.
              onOpenAutoFocus={(event) => event.preventDefault()}
              onCloseAutoFocus={(event) => event.preventDefault()}
              onEscapeKeyDown={() => shown.element.focus()}
              onInteractOutside={stayOpen}
              className="z-20 w-64 max-w-[calc(100vw-1rem)] rounded-xl border border-line bg-raised p-1 text-sm shadow-lg"
            >
              <Alternatives word={shown.word} onRegrow={onRegrow} />
            </Popover.Content>
          </Popover.Portal>
        </>
      )}
    </Popover.Root>
  );
}

/** How many tokens further a key leads. */
function stepOf({ key, currentTarget }: KeyboardEvent): number | undefined {
  const along = getComputedStyle(currentTarget).direction === "rtl" ? -1 : 1;
  return { ArrowRight: along, ArrowDown: 1, ArrowLeft: -along, ArrowUp: -1 }[key];
}

/** Which token an element is; -1 if none. */
function placeOf(target: EventTarget): number {
  return target instanceof HTMLElement ? Number(target.dataset.word ?? -1) : -1;
}

function tokenAt(tokens: HTMLElement | null, place: number): HTMLElement | null | undefined {
  return tokens?.querySelector<HTMLElement>(`[data-word="${place}"]`);
}

const Tokens = memo(function Tokens({ words }: { words: Word[] }) {
  return words.map((word, index) => (
    // biome-ignore-start lint/a11y/useSemanticElements: a button cannot break across lines.
    <span
      // biome-ignore lint/suspicious/noArrayIndexKey: the tokens of an answer keep their places.
      key={index}
      role="button"
      // One stop for the Tab key; the arrow keys do the rest.
      tabIndex={index === 0 ? 0 : -1}
      data-word={index}
      data-surprise={surprise(word.probability)}
      aria-haspopup="dialog"
      // White space, and a piece of a character, would be a button without a name.
      aria-label={word.text.trim() === "" ? visible(word.text) || "…" : undefined}
      className="word cursor-default rounded-xs hover:outline hover:outline-accent"
    >
      {word.text}
    </span>
    // biome-ignore-end lint/a11y/useSemanticElements: as above.
  ));
});

function Alternatives({ word, onRegrow }: { word: Word; onRegrow: ViewProps["onRegrow"] }) {
  return (
    <ul>
      {word.alternatives.map(({ text, probability, isChosen, prefix }, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: different tokens may have the same text.
        <li key={index}>
          <button
            type="button"
            disabled={isChosen || prefix === null || onRegrow === null}
            title={onRegrow ? strings.words.regrow(text) : undefined}
            onClick={() => prefix !== null && onRegrow?.(prefix)}
            className="relative flex min-h-9 w-full items-center gap-2 rounded-md px-2.5 text-start enabled:hover:bg-hover"
          >
            <code className="min-w-0 flex-1 truncate whitespace-pre">{visible(text)}</code>
            {isChosen && <span className="text-accent text-xs">{strings.words.chosen}</span>}
            <span className="text-soft tabular-nums">{strings.words.probability(probability)}</span>
            <span
              className="absolute start-2.5 bottom-0.5 h-0.5 rounded-full bg-brass"
              style={{ width: `${probability * 90}%` }}
            />
          </button>
        </li>
      ))}
    </ul>
  );
}

/** A token with its white space shown: a space before a word is the rule, and says nothing. */
function visible(text: string): string {
  return text.trim() === "" ? text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥") : text.trimStart();
}
