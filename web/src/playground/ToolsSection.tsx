import { Button } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { JsonEditor } from "./JsonEditor";
import { isObject } from "./json";
import { Section, Select } from "./Parts";
import { toolName } from "./request";
import { checkSchema, type Issue } from "./schema";
import { EXAMPLE_TOOL, newKey, type Text, written } from "./state";
import { strings } from "./strings";

const NAME = /^[a-zA-Z0-9_-]{1,64}$/;

interface Props {
  tools: Text[];
  choice: string;
  onTools: (tools: Text[]) => void;
  onChoice: (choice: string) => void;
}

export function ToolsSection({ tools, choice, onTools, onChoice }: Props) {
  const names = [...new Set(tools.map(({ text }) => toolName(text)))].filter((name) => name !== "");
  const choices = [
    ...Object.entries(strings.tools.choices).map(([value, label]) => ({ value, label })),
    ...names.map((name) => ({ value: `=${name}`, label: strings.tools.only(name) })),
  ];
  const add = () => {
    const name = tools.length === 0 ? EXAMPLE_TOOL.name : `tool_${tools.length + 1}`;
    onTools([...tools, { key: newKey(), text: written({ ...EXAMPLE_TOOL, name }) }]);
  };
  return (
    <Section title={strings.tools.title} note={tools.length > 0 ? String(tools.length) : ""} isOpen={tools.length > 0}>
      <p className="text-soft text-xs">{strings.tools.hint}</p>
      {tools.map(({ key, text }, at) => (
        <div key={key} className="flex flex-col gap-1">
          <JsonEditor
            label={strings.tools.tool(at + 1)}
            text={text}
            check={checkTool}
            onChange={(changed) => onTools(tools.map((each) => (each.key === key ? { key, text: changed } : each)))}
          />
          <Button className="self-end" onClick={() => onTools(tools.filter((each) => each.key !== key))}>
            <Icon name="trash" className="size-4" />
            {strings.tools.remove(at + 1)}
          </Button>
        </div>
      ))}
      <Button look="outline" className="self-start" onClick={add}>
        <Icon name="plus" className="size-4" />
        {strings.tools.add}
      </Button>
      {tools.length > 0 && <Select label={strings.tools.choice} value={choice} options={choices} onChange={onChoice} />}
    </Section>
  );
}

function checkTool(value: unknown): Issue[] {
  const isWrapped = isObject(value) && value.type === "function" && isObject(value.function);
  const found = isWrapped ? value.function : value;
  if (!isObject(found)) return [{ path: "", message: strings.tools.noObject }];
  const issues: Issue[] = [];
  if (typeof found.name !== "string" || !NAME.test(found.name))
    issues.push({ path: "/name", message: strings.tools.noName });
  if (found.parameters === undefined) return issues;
  if (!isObject(found.parameters)) return [...issues, { path: "/parameters", message: strings.tools.noSchema }];
  const within = checkSchema(found.parameters, found.strict === true);
  return [...issues, ...within.map(({ path, message }) => ({ path: `/parameters${path}`, message }))];
}
