import { useQuery } from "@tanstack/react-query";
import { modelsQuery } from "../api/chats";
import type { ChatSettings } from "../api/types";

const LAST = "mainspring.model";

/** The model that answers: the one that was chosen, as long as it is deployed; otherwise the first. */
export function useModel({ model }: ChatSettings): string | undefined {
  const { data: models } = useQuery(modelsQuery);
  return (models?.find((each) => each.id === model) ?? models?.[0])?.id;
}

/** What new chats begin with on this device. */
export function firstSettings(): ChatSettings {
  const model = localStorage.getItem(LAST);
  return model === null ? {} : { model };
}

export function rememberModel(model: string): void {
  localStorage.setItem(LAST, model);
}
