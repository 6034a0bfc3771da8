import { useEffect } from "react";
import { strings } from "../strings";

/** What the browser's tab says. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title === "" ? strings.product : `${title} · ${strings.product}`;
  }, [title]);
}
