/** What is said about files in a chat. Loaded with them. */

const percent = new Intl.NumberFormat("en", { style: "percent" });

export const strings = {
  files: "Files of this chat",
  states: {
    sending: (part: number) => `Sending: ${percent.format(part)}`,
    reading: "Being read…",
    ready: "Ready",
    failed: "Failed",
  },
  remove: (name: string) => `Remove ${name}`,
  sources: "Sources",
  source: (number: number, filename: string) => `Source ${number}: ${filename}`,
  doubtful: "The passage may not say this.",
  noPassage: "The passage is not shown here.",
};
