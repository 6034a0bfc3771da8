/** What is said about answers side by side. Loaded with them. */

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const strings = {
  title: "Compare two answers",
  text: "Every question is asked twice at once: as this chat is set, and as it is set here. The answers stand side by side until you choose the one to go on with.",
  assistant: "Assistant",
  noAssistant: "None",
  sameModel: "The same",
  start: "Compare",
  stop: "Stop comparing",
  answers: "Answers to compare",
  goOn: "Go on with this one",
  goOnWith: (label: string) => `Go on with this one: ${label}`,
  choose: "Choose the answer to go on with.",
  tokens: (count: number) => `${number.format(count)} tokens`,
  seconds: (seconds: number) => `${number.format(seconds)} s`,
  speed: (perSecond: number) => `${number.format(perSecond)} tokens/s`,
  roughly: "Rounded to seconds: the answer was asked for before this page was loaded.",
  numbered: (label: string, at: number) => `${label} · ${at}`,
  parameters: {
    temperature: "temperature",
    top_p: "top P",
    max_output_tokens: "longest",
    seed: "seed",
  },
} as const;
