/** All that receipts and the meter say. It is loaded with them. */

const number = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });
const date = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

const tokens = (count: number) => (count === 1 ? "1 token" : `${number.format(count)} tokens`);

export const strings = {
  title: "Receipt",
  intro: "How this answer was made, as it was written down when it was.",
  loading: "Reading the receipt…",
  copy: "Copy as JSON",
  download: "Download",
  fileName: (id: string) => `receipt-${id}.json`,
  unknownTitle: "Not known",
  alteredTitle: "No longer as it was when the answer ended",
  generation: (at: number, of: number) => `Run ${at} of ${of}`,
  date: (seconds: number) => date.format(seconds * 1000),
  tokens,

  facts: {
    title: "Facts",
    status: "Status",
    made: "Made",
    model: "Model",
    deployment: "Deployment",
    format: "Format",
    file: (path: string) => `SHA-256 of ${path}`,
    base: "Base",
    job: "Trained by",
    adapter: "Adapter",
    engine: "Engine",
    processor: "Processor",
    settings: "Engine's settings",
    seed: "Seed",
    seedOwn: (seed: string) => `${seed} (asked for)`,
    seedDrawn: (seed: string) => `${seed} (drawn)`,
    temperature: "Temperature",
    topP: "Top p",
    maxTokens: "Longest answer",
    unlimited: "what fits",
    promptTokens: "Prompt",
    cached: (count: number, cached: number) => `${tokens(count)}, ${number.format(cached)} of them from the cache`,
    promptHash: "SHA-256 of the prompt's tokens",
    answerTokens: "Answer",
    answerHash: "SHA-256 of the answer's text",
    together: "Computed together with",
    alone: "nothing else",
    others: (count: number) => (count === 1 ? "1 other answer" : `up to ${number.format(count)} other answers`),
    guessed: "Tokens guessed ahead",
    finish: "Ended because",
    receipt: "SHA-256 of the receipt",
    nobody: "not known",
  },

  prompt: { title: "Prompt as the model read it" },

  sources: {
    title: "Passages that were found for it",
    place: (start: number, end: number) => `characters ${number.format(start)} to ${number.format(end)}`,
    page: (page: number) => `page ${number.format(page)}`,
    hash: (hash: string) => `SHA-256 of the file: ${hash}`,
    hashUnknown: "The file was gone when the answer ended.",
  },

  again: {
    title: "Run again",
    text: "The same prompt, seed and settings once more, at low priority; then both answers are compared.",
    run: "Run again",
    running: "Running again…",
    with: "With",
    same: "the same model",
    identical: "Identical: the same text, token by token.",
    identicalText: "Identical: the same text.",
    differs: "It differs.",
    place: (character: number, token: number | null) =>
      token === null
        ? `The first difference is at character ${number.format(character)}.`
        : `The first difference is at character ${number.format(character)}, token ${number.format(token)}.`,
    drawn: (again: number, of: number) =>
      `Behind the original’s own words, ${number.format(again)} of its ${tokens(of)} are drawn again.`,
    original: "Then",
    now: "Now",
    end: "(ends here)",
    rounded:
      "Confirmed, rounding apart: behind the original’s own words, each is drawn where the receipt says, or just beside it.",
    rounding:
      "Sums of floating-point numbers depend on what is computed beside them and on what the cache holds, so that a word here and there comes out otherwise.",
    far: "That is more than rounding explains: this model, prompt and seed do not make this answer.",
    unknown: "Nobody can tell.",
  },

  meter: {
    label: "Context of the model",
    title: "What the model saw",
    used: (used: number, most: number) => `${number.format(used)} of ${tokens(most)} used`,
    short: (used: number, most: number) => `${number.format(used)} / ${number.format(most)}`,
    intro: "The messages that the last answer was made from, and what each took of the model's context.",
    share: (share: number) => percent.format(share),
    prompt: "Read",
    answer: "Written",
    cached: "Of what was read, from the cache",
    template: "The model's own marks, tools and instructions",
    free: "Free",
    leftOut: (count: number) =>
      count === 1
        ? "1 message was left out: it no longer fits."
        : `${count} messages were left out: they no longer fit.`,
    inexact: "This model's template changes what it is given: how much each message takes cannot be told.",
    roles: {
      user: "You",
      assistant: "Model",
      system: "Instructions",
      developer: "Instructions",
      tool: "Tool",
    } as Record<string, string>,
    states: { seen: "seen", cached: "seen, from the cache", left_out: "left out" },
    partly: (cached: number) => `seen, ${number.format(cached)} from the cache`,
    empty: "(calls a tool)",
    notKnown: "What the model saw for this answer was not written down.",
  },
} as const;
