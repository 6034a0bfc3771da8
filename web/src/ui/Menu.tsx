/** Menus that a button opens. Not modal: a modal one locks the page's scrolling with a style element, which the policy forbids. */

import * as Radix from "@radix-ui/react-dropdown-menu";
import { createContext, type ReactNode, use, useCallback, useRef } from "react";
import { Layer } from "./Dialog";
import { Icon } from "./Icon";

const ITEM =
  "flex min-h-9 w-full cursor-default select-none items-center gap-2.5 rounded-md px-2.5 py-1.5 text-sm outline-none data-highlighted:bg-hover";

/** Takes what is to be done once the menu is closed. */
const Chosen = createContext<(act: () => void) => void>((act) => act());

interface MenuProps {
  /** The button: an element that takes a ref and the properties of a button. */
  trigger: ReactNode;
  children: ReactNode;
  align?: "start" | "end";
}

export function Menu({ trigger, children, align = "start" }: MenuProps) {
  const chosen = useRef<(() => void) | null>(null);
  const choose = useCallback((act: () => void) => {
    chosen.current = act;
  }, []);
  // The menu gives the focus back to its button first, so that a dialog that is chosen knows where to give it back to.
  const onCloseAutoFocus = () =>
    queueMicrotask(() => {
      chosen.current?.();
      chosen.current = null;
    });

  return (
    <Radix.Root modal={false}>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal container={use(Layer)}>
        <Radix.Content
          align={align}
          sideOffset={6}
          collisionPadding={8}
          onCloseAutoFocus={onCloseAutoFocus}
          className="z-20 max-h-(--radix-dropdown-menu-content-available-height) min-w-48 max-w-[min(24rem,calc(100vw-1rem))] overflow-y-auto rounded-xl border border-line bg-raised p-1 text-ink shadow-lg"
        >
          <Chosen value={choose}>{children}</Chosen>
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

interface ItemProps {
  onSelect: () => void;
  icon?: ReactNode;
  children: ReactNode;
}

export function MenuItem({ onSelect, icon, children }: ItemProps) {
  const choose = use(Chosen);
  return (
    <Radix.Item onSelect={() => choose(onSelect)} className={ITEM}>
      {icon}
      {children}
    </Radix.Item>
  );
}

interface ChoiceProps<Value extends string> {
  label: string;
  value: Value | undefined;
  options: readonly { value: Value; label: ReactNode }[];
  onChange: (value: Value) => void;
}

export function MenuChoice<Value extends string>({ label, value, options, onChange }: ChoiceProps<Value>) {
  const choose = (chosen: string) => {
    const option = options.find((each) => each.value === chosen);
    if (option) onChange(option.value);
  };
  return (
    <Radix.RadioGroup aria-label={label} value={value ?? ""} onValueChange={choose}>
      <Radix.Label className="px-2.5 pt-1.5 pb-1 font-medium text-soft text-xs">{label}</Radix.Label>
      {options.map((option) => (
        <Radix.RadioItem key={option.value} value={option.value} className={`${ITEM} justify-between`}>
          {option.label}
          <Radix.ItemIndicator>
            <Icon name="check" className="size-4 text-accent" />
          </Radix.ItemIndicator>
        </Radix.RadioItem>
      ))}
    </Radix.RadioGroup>
  );
}

export function MenuSeparator() {
  return <Radix.Separator className="my-1 h-px bg-line" />;
}
