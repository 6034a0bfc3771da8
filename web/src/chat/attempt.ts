import { useCallback, useState } from "react";

/** Whether it went well. */
export type Attempt = (act: () => Promise<unknown>) => Promise<boolean>;

/** Does what may fail, and keeps what went wrong until the next attempt. */
export function useAttempt(): { problem: string | null; attempt: Attempt } {
  const [problem, setProblem] = useState<string | null>(null);
  const attempt = useCallback(async (act: () => Promise<unknown>) => {
    setProblem(null);
    try {
      await act();
      return true;
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      return false;
    }
  }, []);
  return { problem, attempt };
}
