/** What is said about diagrams. */

export const strings = {
  copy: "Copy the diagram's source",
  download: "Download the picture (SVG)",
  drawing: "Diagrams are drawn here",
  failed: "The diagram could not be drawn.",
  label: (title: string) => (title ? `Diagram: ${title}` : "Diagram"),
  name: "diagram",
  showPicture: "Show the picture",
  showSource: "Show the source",
  tooLong: "The diagram is too long to be drawn.",
  tooSlow: "The diagram took too long to draw.",
} as const;
