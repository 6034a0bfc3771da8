import { lazy, Suspense, useState } from "react";
import type { ChatSettings } from "../api/types";
import { strings } from "../strings";
import { IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";

const CompareDialog = lazy(() => import("./CompareDialog"));

interface Props {
  settings: ChatSettings;
  onChange: (settings: ChatSettings) => void;
}

/** Opens what every question is asked to besides; pressed if there is something. */
export function CompareButton({ settings, onChange }: Props) {
  const [isOpen, setIsOpen] = useState(false);
  return (
    <>
      <IconButton
        label={strings.composer.compare}
        aria-pressed={settings.versus !== undefined}
        onClick={() => setIsOpen(true)}
      >
        <Icon name="columns" />
      </IconButton>
      {isOpen && (
        <Suspense>
          <CompareDialog settings={settings} onChange={onChange} onClose={() => setIsOpen(false)} />
        </Suspense>
      )}
    </>
  );
}
