/** The icons of these pages, drawn on a grid of 24. They say nothing to screen readers: labels do. */

import type { ReactNode } from "react";

/** A path, or elements where one is not enough. */
const SHAPES = {
  alert: "M12 8v5m0 3.5v.01M10.3 4.2 2.7 17.5A2 2 0 0 0 4.4 20.5h15.2a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z",
  arrowDown: "M12 5v14m-6-6 6 6 6-6",
  arrowUp: "M12 19V5m-6 6 6-6 6 6",
  assistant:
    "M12 3.5V7m-5.5 0h11A2.5 2.5 0 0 1 20 9.5v7a2.5 2.5 0 0 1-2.5 2.5h-11A2.5 2.5 0 0 1 4 16.5v-7A2.5 2.5 0 0 1 6.5 7ZM9 12v1.5m6-1.5v1.5",
  check: "m5 12.5 4.5 4.5L19 7.5",
  chevronDown: "m7 10 5 5 5-5",
  /** To where reading goes. */
  chevronEnd: "m10 7 5 5-5 5",
  /** To where reading comes from. */
  chevronStart: "m14 7-5 5 5 5",
  close: "m6 6 12 12M18 6 6 18",
  code: "m8 7-5 5 5 5m8-10 5 5-5 5",
  columns: "M4 5h6.5v14H4Zm9.5 0H20v14h-6.5Z",
  continue: "M5 6v12l7-6ZM13 6v12l7-6Z",
  copy: (
    <>
      <rect x="9" y="9" width="11" height="11" rx="2" />
      <path d="M15 5.5V5a2 2 0 0 0-2-2H5a2 2 0 0 0-2 2v8a2 2 0 0 0 2 2h.5" />
    </>
  ),
  download: "M12 4v11m-4-4 4 4 4-4M5 20h14",
  dots: (
    <g strokeWidth={3}>
      <path d="M5 12h.01M12 12h.01M19 12h.01" />
    </g>
  ),
  flask: "M9 3h6m-5 0v6l-5.4 9a2 2 0 0 0 1.7 3h11.4a2 2 0 0 0 1.7-3L14 9V3M7.6 15h8.8",
  fork: "M6 4v16M6 14c0-5 12-3 12-9m0 0-3 3m3-3 3 3",
  gauge: "M4.5 18.5a9 9 0 1 1 15 0M12 14l4-5M12 14.5v-.01",
  /** A coiled spring: the mark of the product. */
  mark: "M12 12a1.5 1.5 0 0 1 3 0a3 3 0 0 1-6 0a4.5 4.5 0 0 1 9 0a6 6 0 0 1-12 0a7.5 7.5 0 0 1 15 0v8",
  menu: "M4 7h16M4 12h16M4 17h16",
  paperclip: "m20 11.5-8.2 8.2a5 5 0 0 1-7.1-7.1l8.6-8.6a3.4 3.4 0 0 1 4.8 4.8l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4l7.8-7.8",
  pencil: "M4 20l.8-4L16.5 4.3a1.8 1.8 0 0 1 2.6 0l.6.6a1.8 1.8 0 0 1 0 2.6L8 19.2 4 20ZM14.5 6.5l3 3",
  pin: "M12 17v4M8 4h8l-1 6 3 3v2H6v-2l3-3Z",
  plus: "M12 5v14M5 12h14",
  receipt: "M6 3.5h12v17l-2.4-1.6L13.2 20.5 12 19.6l-1.2.9-2.4-1.6L6 20.5ZM9 8h6M9 11.5h6M9 15h3",
  retry: "M20 12a8 8 0 1 1-2.5-5.8M20 3v4.5h-4.5",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm5-2 4.5 4.5",
  settings: "M4 7h9m4 0h3M4 17h3m4 0h9M15 4.5v5m-6 5v5",
  share: "M12 15V4m-4 4 4-4 4 4M5 12v6a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2v-6",
  sidebar: (
    <>
      <rect x="3" y="4" width="18" height="16" rx="2.5" />
      <path d="M9 4v16" />
    </>
  ),
  signOut: "M14 4h4a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2h-4M4 12h11m-4-4 4 4-4 4",
  stop: <rect x="6" y="6" width="12" height="12" rx="2" fill="currentColor" />,
  trash:
    "M4 6.5h16M9 6V4.5A1.5 1.5 0 0 1 10.5 3h3A1.5 1.5 0 0 1 15 4.5V6m3 .5-.8 12a2 2 0 0 1-2 1.9H8.8a2 2 0 0 1-2-1.9L6 6.5M10 11v5m4-5v5",
  upload: "M12 15V4m-4 4 4-4 4 4M5 20h14",
  user: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-7.5 8.5a7.5 7.5 0 0 1 15 0",
  words: "M4 19V9m5.3 10V5m5.4 14v-7M20 19v-4",
} satisfies Record<string, ReactNode>;

/** Those that point along the line are turned where it is read from the right. */
const TURNED: ReadonlySet<string> = new Set(["chevronEnd", "chevronStart", "continue", "sidebar", "signOut"]);

interface Props {
  name: keyof typeof SHAPES;
  className?: string;
}

export function Icon({ name, className = "size-5" }: Props) {
  const shape = SHAPES[name];
  return (
    <svg
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.75}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      className={`shrink-0 ${TURNED.has(name) ? "rtl:-scale-x-100" : ""} ${className}`}
    >
      {typeof shape === "string" ? <path d={shape} /> : shape}
    </svg>
  );
}
