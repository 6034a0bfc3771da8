/** The picture of an assistant: its emoji, or the first letter of its name. */

interface Props {
  icon: string;
  name: string;
  className?: string;
}

export function Tile({ icon, name, className = "size-7 text-sm" }: Props) {
  return (
    <span
      aria-hidden="true"
      className={`grid shrink-0 place-content-center overflow-hidden rounded-lg bg-accent-soft font-medium text-accent leading-none ${className}`}
    >
      {icon || [...name.trim()][0]?.toUpperCase()}
    </span>
  );
}
