import { Button } from "../../ui/Button";
import { words } from "../strings";

interface Paged {
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  fetchNextPage: () => Promise<unknown>;
}

/** Below a list that has more. */
export function More({ of }: { of: Paged }) {
  if (!of.hasNextPage) return null;
  return (
    <Button
      look="outline"
      className="self-center"
      disabled={of.isFetchingNextPage}
      onClick={() => void of.fetchNextPage()}
    >
      {words.more}
    </Button>
  );
}
