import { strings } from "../strings";
import { Button } from "../ui/Button";

/** Stands in the place of a conversation that is not there, or not yet. */
export function Notice({ text, onRetry }: { text: string; onRetry?: () => void }) {
  return (
    <div className="grid flex-1 place-content-center justify-items-center gap-3 p-6 text-center text-soft">
      <p>{text}</p>
      {onRetry && (
        <Button look="outline" onClick={onRetry}>
          {strings.actions.retry}
        </Button>
      )}
    </div>
  );
}
