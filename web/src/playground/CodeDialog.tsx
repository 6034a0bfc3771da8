import { useId, useState } from "react";
import { CodeBlock } from "../markdown/CodeBlock";
import { Check } from "../ui/Check";
import { Dialog } from "../ui/Dialog";
import { codeOf, DIALECTS, type Dialect, KEY_VARIABLE, LANGUAGES, type Language, type Operation } from "./code/code";
import type { Built } from "./request";
import { strings } from "./strings";
import { TabPanel, Tabs, useTabsId } from "./Tabs";

const HIGHLIGHTING: Record<Language, string> = { python: "python", node: "javascript", curl: "bash" };
const TABS = LANGUAGES.map((language) => ({ value: language, label: strings.viewCode.languages[language] }));

interface Props {
  operation: Operation;
  request: Built;
  onClose: () => void;
}

export function CodeDialog({ operation, request, onClose }: Props) {
  const [language, setLanguage] = useState<Language>("python");
  const [dialect, setDialect] = useState<Dialect>("openai");
  const [streams, setStreams] = useState(operation !== "embeddings");
  const id = useTabsId();
  const { body, problems } = request;
  const server = document.baseURI.replace(/\/+$/, "");

  return (
    <Dialog title={strings.viewCode.title} place="wide" onClose={onClose}>
      {() => (
        <>
          <div className="flex flex-wrap items-center gap-x-6 gap-y-2">
            <Tabs label={strings.viewCode.language} tabs={TABS} value={language} onChange={setLanguage} id={id} />
            <DialectChoice dialect={dialect} onChange={setDialect} />
            {operation !== "embeddings" && (
              <Check label={strings.viewCode.streams} isChecked={streams} onChange={setStreams} />
            )}
          </div>
          {LANGUAGES.map((each) => (
            <TabPanel key={each} id={id} value={each} isShown={each === language} className="flex flex-col gap-3">
              {each === language && body !== null && (
                <>
                  <CodeBlock
                    language={HIGHLIGHTING[each]}
                    text={codeOf(each, { operation, body, streams, dialect, server }).trimEnd()}
                  />
                  <Notes language={each} />
                </>
              )}
              {problems !== null && (
                <ul className="ms-5 list-disc text-danger text-sm">
                  {problems.map(({ field, message }) => (
                    <li key={field + message}>{message}</li>
                  ))}
                </ul>
              )}
            </TabPanel>
          ))}
        </>
      )}
    </Dialog>
  );
}

function DialectChoice({ dialect, onChange }: { dialect: Dialect; onChange: (dialect: Dialect) => void }) {
  const name = useId();
  return (
    <fieldset className="flex items-center gap-4">
      <legend className="sr-only">{strings.viewCode.dialect}</legend>
      {DIALECTS.map((each) => (
        <label key={each} className="flex min-h-9 items-center gap-2 text-sm">
          <input
            type="radio"
            name={name}
            checked={dialect === each}
            onChange={() => onChange(each)}
            className="size-4 accent-accent"
          />
          {strings.viewCode.dialects[each]}
        </label>
      ))}
    </fieldset>
  );
}

function Notes({ language }: { language: Language }) {
  const install = strings.viewCode.install[language];
  return (
    <p className="text-soft text-sm">
      {install !== "" && <code className="me-2 font-mono text-ink">{install}</code>}
      {strings.viewCode.key(KEY_VARIABLE)} {language === "node" && strings.viewCode.module}
    </p>
  );
}
