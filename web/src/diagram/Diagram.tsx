/** A diagram: its picture, or its source where there is none or somebody asks for it. Loaded when the first one comes. */

import { memo, useEffect, useMemo, useState } from "react";
import { useIsDark } from "../theme";
import { IconButton } from "../ui/Button";
import { CopyButton } from "../ui/CopyButton";
import { download } from "../ui/download";
import { Icon } from "../ui/Icon";
import { draw, drawn } from "./draw";
import type { Picture } from "./order";
import { strings } from "./strings";

/** A picture is made smaller to fit, but not so small that nobody can read it: then it scrolls. */
const LEAST_SCALE = 0.6;

function useDrawn(source: string): Picture | Error | undefined {
  const isDark = useIsDark();
  const [made, setMade] = useState(() => drawn(source, isDark));

  useEffect(() => {
    let isWanted = true;
    void draw(source, isDark).then((each) => isWanted && setMade(each));
    return () => {
      isWanted = false;
    };
  }, [source, isDark]);

  return made;
}

export default memo(function Diagram({ source }: { source: string }) {
  const made = useDrawn(source);
  const [showsSource, setShowsSource] = useState(false);
  const picture = made === undefined || made instanceof Error ? null : made;
  return (
    <figure className="code-block" dir="ltr" aria-label={strings.label(picture?.title ?? "")}>
      <figcaption>
        <span className="flex-1">{strings.name}</span>
        {picture && (
          <>
            <IconButton
              label={showsSource ? strings.showPicture : strings.showSource}
              onClick={() => setShowsSource(!showsSource)}
            >
              <Icon name={showsSource ? "fork" : "code"} className="size-4" />
            </IconButton>
            <IconButton
              label={strings.download}
              onClick={() => download(`${strings.name}.svg`, new Blob([picture.svg], { type: "image/svg+xml" }))}
            >
              <Icon name="download" className="size-4" />
            </IconButton>
          </>
        )}
        <CopyButton label={strings.copy} text={() => source} />
      </figcaption>
      {picture && !showsSource ? <Shown picture={picture} /> : <Source text={source} />}
      {made instanceof Error && <Problem error={made} />}
    </figure>
  );
});

function Shown({ picture: { svg, width, height, title } }: { picture: Picture }) {
  const address = useMemo(() => `data:image/svg+xml,${encodeURIComponent(svg)}`, [svg]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach.
    <div tabIndex={0} className="overflow-x-auto px-3.5 pb-3.5">
      <img
        src={address}
        alt={strings.label(title)}
        width={width}
        height={height}
        className="mx-auto block h-auto"
        style={{ maxWidth: `max(100%, ${Math.round(width * LEAST_SCALE)}px)` }}
      />
    </div>
  );
}

function Source({ text }: { text: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach.
    <pre tabIndex={0}>
      <code>{text}</code>
    </pre>
  );
}

function Problem({ error }: { error: Error }) {
  return (
    <div role="status" className="border-line border-t px-3.5 py-2 text-danger text-sm">
      <p>{strings.failed}</p>
      <pre className="whitespace-pre-wrap break-words">{error.message}</pre>
    </div>
  );
}
