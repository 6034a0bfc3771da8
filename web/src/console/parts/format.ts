/** Numbers and times as people read them. */

import { strings } from "../../strings";

const { locale } = strings;
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const decimal = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });
const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const sizes = (["kilobyte", "megabyte", "gigabyte"] as const).map(
  (unit) => new Intl.NumberFormat(locale, { style: "unit", unit, maximumSignificantDigits: 3 }),
);
const money = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const dateTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "medium" });
const hour = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const hourOfDay = new Intl.DateTimeFormat(locale, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const day = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", timeZone: "UTC" });

export const format = {
  whole: (value: number) => whole.format(value),
  /** 12.3K: for axes and tiles. */
  compact: (value: number) => compact.format(value),
  decimal: (value: number) => decimal.format(value),
  /** 1.23 MB, of 1,000 kB each. */
  bytes: (count: number) => {
    const power = Math.min(Math.max(Math.floor(Math.log10(Math.max(count, 1)) / 3), 1), sizes.length);
    return sizes[power - 1]?.format(count / 1000 ** power) ?? "";
  },
  percent: (share: number) => percent.format(share),
  /** In the currency of the prices, which the server does not name. */
  money: (value: number) => money.format(value),
  seconds: (seconds: number) => (seconds < 1 ? `${whole.format(seconds * 1000)} ms` : `${decimal.format(seconds)} s`),
  dateTime: (unixS: number) => dateTime.format(unixS * 1000),
  exact: (unixS: number) => exact.format(unixS * 1000),
  hour: (unixS: number) => hour.format(unixS * 1000),
  hourOfDay: (unixS: number) => hourOfDay.format(unixS * 1000),
  /** The API's days are those of UTC. */
  day: (unixS: number) => day.format(unixS * 1000),
};
