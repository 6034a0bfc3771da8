import { lazy, memo, Suspense } from "react";
import { strings } from "../strings";
import { Boundary } from "../ui/Boundary";
import { CopyButton } from "../ui/CopyButton";

const MAX_HIGHLIGHTED = 30_000;

const Highlighted = lazy(() => import("./Highlighted"));

const Diagram = lazy(() => import("../diagram/Diagram"));

interface Props {
  language: string;
  text: string;
  /** Whether all of it has come: only then is it more than text. */
  isWhole?: boolean;
}

export function CodeBlock({ isWhole = false, ...code }: Props) {
  if (!isWhole || code.language.toLowerCase() !== "mermaid") return <Code {...code} />;
  const plain = <Code {...code} />;
  return (
    <Boundary fallback={plain}>
      <Suspense fallback={plain}>
        <Diagram source={code.text} />
      </Suspense>
    </Boundary>
  );
}

const Code = memo(function Code({ language, text }: Omit<Props, "isWhole">) {
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
