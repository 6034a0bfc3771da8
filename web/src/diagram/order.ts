/** What the pages and the document that draws say to each other. Neither takes the other's word for a shape. */

/** In characters. What is larger stays text. */
export const MAX_SOURCE = 20_000;
export const MAX_SVG = 1_000_000;

export interface Order {
  id: number;
  source: string;
  isDark: boolean;
}

export interface Picture {
  svg: string;
  /** In CSS pixels. */
  width: number;
  height: number;
  /** What the diagram says it is called; it may be empty. */
  title: string;
}

/** `id` is the order's; `ready` comes once, before all others. */
export type Reply = { ready: true } | { id: number; picture: Picture } | { id: number; error: string };

export function isOrder(data: unknown): data is Order {
  const { id, source, isDark } = fieldsOf(data);
  return typeof id === "number" && isText(source, MAX_SOURCE) && typeof isDark === "boolean";
}

export function isReply(data: unknown): data is Reply {
  const { ready, id, picture, error } = fieldsOf(data);
  return ready === true || (typeof id === "number" && (isPicture(picture) || isText(error, MAX_SOURCE)));
}

function isPicture(data: unknown): data is Picture {
  const { svg, width, height, title } = fieldsOf(data);
  return isText(svg, MAX_SVG) && isSize(width) && isSize(height) && isText(title, MAX_SOURCE);
}

function fieldsOf(data: unknown): Record<string, unknown> {
  return typeof data === "object" && data !== null ? (data as Record<string, unknown>) : {};
}

function isText(value: unknown, most: number): value is string {
  return typeof value === "string" && value.length <= most;
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && value > 0 && value < 1e6;
}
