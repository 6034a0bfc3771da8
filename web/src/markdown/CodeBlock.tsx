import { lazy, memo, Suspense } from "react";
import { strings } from "../strings";
import { CopyButton } from "../ui/CopyButton";

const MAX_HIGHLIGHTED = 30_000;

const Highlighted = lazy(() => import("./Highlighted"));

export const CodeBlock = memo(function CodeBlock({ language, text }: { language: string; text: string }) {
  const isHighlighted = language !== "" && text.length <= MAX_HIGHLIGHTED;
  return (
    <figure className="code-block" dir="ltr">
      <figcaption>
        <span>{language || strings.code.plain}</span>
        <CopyButton label={strings.code.copy} text={() => text} />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach. */}
      <pre tabIndex={0}>
        <code>
          {isHighlighted ? (
            <Suspense fallback={text}>
              <Highlighted language={language} text={text} />
            </Suspense>
          ) : (
            text
          )}
        </code>
      </pre>
    </figure>
  );
});
