const PROTOCOLS = ["http:", "https:", "mailto:"];

/** The address, if it is one that a link in an answer may lead to. Relative ones would lead into these pages. */
export function safeHref(href: string | undefined): string | undefined {
  if (href === undefined || !URL.canParse(href)) return undefined;
  return PROTOCOLS.includes(new URL(href).protocol) ? href : undefined;
}
