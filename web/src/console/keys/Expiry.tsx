/** When a key that is made stops working. */

import { useId } from "react";
import { FIELD } from "../../ui/Field";
import { words } from "../strings";

const DAY_S = 86_400;
const CHOICES = [30, 90, 365];

export function Expiry() {
  const id = useId();
  return (
    <div className="flex flex-col gap-1.5">
      <label htmlFor={id} className="font-medium text-sm">
        {words.keys.expires}
      </label>
      <select id={id} name="expires" className={FIELD} defaultValue="">
        <option value="">{words.never}</option>
        {CHOICES.map((days) => (
          <option key={days} value={days * DAY_S}>
            {words.keys.days(days)}
          </option>
        ))}
      </select>
    </div>
  );
}

/** What a request to make a key says of that. */
export function expiryIn(form: FormData): { expires_in_seconds?: number } {
  const seconds = Number(form.get("expires"));
  return seconds > 0 ? { expires_in_seconds: seconds } : {};
}
