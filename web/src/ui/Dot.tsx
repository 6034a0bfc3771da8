/** Something goes on. It stands beside the words that say what, which would be hard to read if they faded. */
export function Dot() {
  return <span className="pulse inline-block size-2.5 shrink-0 rounded-full bg-brass" aria-hidden="true" />;
}
