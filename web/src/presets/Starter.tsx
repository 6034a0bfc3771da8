/** With what a chat may begin: the assistants to choose from, or the one that was chosen and what it may be asked. */

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect } from "react";
import { modelsQuery } from "../api/chats";
import { IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { type Preset, presetsQuery } from "./api";
import { strings } from "./strings";
import { Tile } from "./Tile";

const MOST_SHOWN = 6;
const CHIP =
  "flex min-h-9 max-w-60 items-center gap-2 rounded-lg border border-line px-2.5 py-1 text-sm hover:bg-hover";

interface Props {
  /** The id of the one that was chosen. */
  chosen: string | undefined;
  /** The id of the one whose settings the chat has. */
  applied: string | undefined;
  onChoose: (id: string | undefined) => void;
  /** To have the settings of the one that was chosen, now that they are known. */
  onApply: (preset: Preset | undefined) => void;
  onAsk: (text: string) => void;
}

export default function Starter({ chosen, applied, onChoose, onApply, onAsk }: Props) {
  const { data: presets, error } = useQuery(presetsQuery);
  const preset = presets?.find(({ id }) => id === chosen);
  useEffect(() => {
    if (chosen === applied || presets === undefined) return;
    if (chosen === undefined || preset) onApply(preset);
  }, [chosen, applied, presets, preset, onApply]);

  if (error) return <p className="text-danger text-sm">{error.message}</p>;
  if (presets === undefined) return <div className="h-9" />;
  if (preset) return <Chosen preset={preset} onLeave={() => onChoose(undefined)} onAsk={onAsk} />;
  return (
    <>
      {chosen !== undefined && <p className="text-danger text-sm">{strings.starter.gone}</p>}
      <nav aria-label={strings.starter.heading} className="flex max-w-2xl flex-wrap justify-center gap-2">
        {presets.slice(0, MOST_SHOWN).map((each) => (
          <button
            key={each.id}
            type="button"
            title={each.description}
            onClick={() => onChoose(each.id)}
            className={CHIP}
          >
            <Tile {...each} className="size-6 text-xs" />
            <span className="truncate" dir="auto">
              {each.name}
            </span>
          </button>
        ))}
        <Link to="/assistants" className={`${CHIP} text-soft`}>
          {presets.length > 0 ? strings.starter.all : strings.starter.make}
        </Link>
      </nav>
    </>
  );
}

interface ChosenProps {
  preset: Preset;
  onLeave: () => void;
  onAsk: (text: string) => void;
}

function Chosen({ preset, onLeave, onAsk }: ChosenProps) {
  const { data: models } = useQuery(modelsQuery);
  const { model } = preset.settings;
  const isGone = models !== undefined && model !== undefined && !models.some(({ id }) => id === model);
  return (
    <>
      <Tile {...preset} className="size-14 rounded-2xl text-2xl" />
      <div className="flex max-w-full items-center gap-1">
        <h1 className="min-w-0 break-words ps-9 font-semibold text-2xl tracking-tight" dir="auto">
          {preset.name}
        </h1>
        <IconButton label={strings.starter.without(preset.name)} onClick={onLeave}>
          <Icon name="close" className="size-4" />
        </IconButton>
      </div>
      {preset.description && (
        <p className="max-w-md text-balance break-words text-soft" dir="auto">
          {preset.description}
        </p>
      )}
      {isGone && <p className="text-danger text-sm">{strings.starter.goneModel(model)}</p>}
      {preset.starters.length > 0 && (
        <ul aria-label={strings.starter.starters} className="grid w-full max-w-2xl gap-2 sm:grid-cols-2">
          {preset.starters.map((text) => (
            <li key={text} className="flex">
              <button
                type="button"
                dir="auto"
                onClick={() => onAsk(text)}
                className="w-full break-words rounded-xl border border-line px-3.5 py-2.5 text-start text-sm hover:bg-hover"
              >
                {text}
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
