/** The icons of these pages, drawn on a grid of 24 with lines of 1.75. They say nothing to screen readers: labels do. */

import type { ReactNode } from "react";

function icon(paths: ReactNode) {
  return function Icon({ className = "size-5" }: { className?: string }) {
    return (
      <svg
        viewBox="0 0 24 24"
        fill="none"
        stroke="currentColor"
        strokeWidth={1.75}
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
        className={`shrink-0 ${className}`}
      >
        {paths}
      </svg>
    );
  };
}

const path = (d: string) => icon(<path d={d} />);

/** A coiled spring: the mark of the product. */
export const Mark = path("M12 12a1.5 1.5 0 0 1 3 0a3 3 0 0 1-6 0a4.5 4.5 0 0 1 9 0a6 6 0 0 1-12 0a7.5 7.5 0 0 1 15 0v8");

export const AlertIcon = path("M12 8v5m0 3.5v.01M10.3 4.2 2.7 17.5A2 2 0 0 0 4.4 20.5h15.2a2 2 0 0 0 1.7-3L13.7 4.2a2 2 0 0 0-3.4 0Z");
export const ArrowDownIcon = path("M12 5v14m-6-6 6 6 6-6");
export const ArrowUpIcon = path("M12 19V5m-6 6 6-6 6 6");
export const CheckIcon = path("m5 12.5 4.5 4.5L19 7.5");
export const ChevronDownIcon = path("m7 10 5 5 5-5");
/** Points to where reading comes from. */
export const ChevronStartIcon = icon(<path className="rtl:origin-center rtl:-scale-x-100" d="m14 7-5 5 5 5" />);
/** Points to where reading goes. */
export const ChevronEndIcon = icon(<path className="rtl:origin-center rtl:-scale-x-100" d="m10 7 5 5-5 5" />);
export const CloseIcon = path("m6 6 12 12M18 6 6 18");
export const ContinueIcon = icon(
  <g className="rtl:origin-center rtl:-scale-x-100">
    <path d="M5 6v12l7-6Z" />
    <path d="M13 6v12l7-6Z" />
  </g>,
);
export const CopyIcon = icon(
  <>
    <rect x="9" y="9" width="11" height="11" rx="2" />
    <path d="M15 5.5V5a2 2 0 0 0-2-2H5a2 2 0 0 0-2 2v8a2 2 0 0 0 2 2h.5" />
  </>,
);
export const DotsIcon = path("M5 12h.01M12 12h.01M19 12h.01");
export const ForkIcon = path("M6 3v12m0 0a3 3 0 1 0 0 6 3 3 0 0 0 0-6Zm12-6a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm0 0a9 9 0 0 1-9 9");
export const PencilIcon = path("M4 20l.8-4L16.5 4.3a1.8 1.8 0 0 1 2.6 0l.6.6a1.8 1.8 0 0 1 0 2.6L8 19.2 4 20ZM14.5 6.5l3 3");
export const PinIcon = path("M12 17v4M8 4h8l-1 6 3 3v2H6v-2l3-3Z");
export const PlusIcon = path("M12 5v14M5 12h14");
export const RetryIcon = path("M20 12a8 8 0 1 1-2.5-5.8M20 3v4.5h-4.5");
export const SearchIcon = path("M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm5-2 4.5 4.5");
export const SettingsIcon = path("M4 7h9m4 0h3M4 17h3m4 0h9M15 4.5v5m-6 5v5");
export const SidebarIcon = icon(
  <>
    <rect x="3" y="4" width="18" height="16" rx="2.5" />
    <path className="rtl:translate-x-[6px]" d="M9 4v16" />
  </>,
);
export const SignOutIcon = path("M14 4h4a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2h-4M4 12h11m-4-4 4 4-4 4");
export const StopIcon = icon(<rect x="6" y="6" width="12" height="12" rx="2" fill="currentColor" />);
export const TrashIcon = path("M4 6.5h16M9 6V4.5A1.5 1.5 0 0 1 10.5 3h3A1.5 1.5 0 0 1 15 4.5V6m3 .5-.8 12a2 2 0 0 1-2 1.9H8.8a2 2 0 0 1-2-1.9L6 6.5M10 11v5m4-5v5");
export const UserIcon = path("M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-7.5 8.5a7.5 7.5 0 0 1 15 0");
export const WordsIcon = path("M4 19V9m5.3 10V5m5.4 14v-7M20 19v-4");
