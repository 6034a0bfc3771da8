/** How much of something is used: in words, and as a bar. */

interface Props {
  label: string;
  value: number;
  most: number;
  /** The same in words. */
  text: string;
  /** When nearly all of it is used that is worth a warning. */
  isLimit?: boolean;
}

export function Meter({ label, value, most, text, isLimit = false }: Props) {
  const share = most > 0 ? Math.min(value / most, 1) : 0;
  return (
    <div className="flex min-w-32 flex-col gap-1">
      <span className="text-xs tabular-nums">{text}</span>
      {/* biome-ignore lint/a11y/useSemanticElements: no browser lets its own meter be given these colours. */}
      <div
        role="meter"
        aria-label={label}
        aria-valuenow={value}
        aria-valuemin={0}
        aria-valuemax={most}
        aria-valuetext={text}
        className="h-1.5 overflow-hidden rounded-full bg-hover"
      >
        <div
          className={`h-full rounded-full ${isLimit && share >= 0.9 ? "bg-danger" : "bg-accent"}`}
          style={{ width: `${share * 100}%` }}
        />
      </div>
    </div>
  );
}
