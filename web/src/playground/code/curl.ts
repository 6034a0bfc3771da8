import { API_VERSION, KEY_VARIABLE, PATHS, type Source } from "./code";

/** For the shells of Unix. */
export function curl({ operation, body, streams, dialect, server }: Source): string {
  const { model, ...rest } = body;
  const sent = { ...(dialect === "openai" ? body : rest), ...(streams && { stream: true }) };
  const address =
    dialect === "openai"
      ? `${server}/v1/${PATHS[operation]}`
      : `${server}/openai/deployments/${encodeURIComponent(model)}/${PATHS[operation]}?api-version=${API_VERSION}`;
  const key = dialect === "openai" ? `Authorization: Bearer $${KEY_VARIABLE}` : `api-key: $${KEY_VARIABLE}`;
  return [
    `curl -sS${streams ? "N" : ""} ${inShell(address)} \\`,
    `  -H "${key}" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d ${inShell(JSON.stringify(sent, null, 2))}\n`,
  ].join("\n");
}

/** Within single quotes, a shell takes everything for itself but the quote. */
export function inShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
