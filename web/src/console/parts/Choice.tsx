/** One of several, in a form that is sent. */

import { type ReactNode, type SelectHTMLAttributes, useId } from "react";
import { described, FIELD, Labelled, type Words } from "../../ui/Field";

type Props = SelectHTMLAttributes<HTMLSelectElement> & Words & { children: ReactNode };

export function Choice({ label, hint, wrong, children, ...rest }: Props) {
  const id = useId();
  return (
    <Labelled id={id} label={label} hint={hint} wrong={wrong}>
      <select {...described(id, { hint, wrong })} className={FIELD} {...rest}>
        {children}
      </select>
    </Labelled>
  );
}
