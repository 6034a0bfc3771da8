/** All that these pages say. Another language is another object of this shape. */

const number = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

export const strings = {
  locale: "en",
  dir: "ltr",
  product: "Mainspring",

  actions: {
    cancel: "Cancel",
    close: "Close",
    copied: "Copied",
    delete: "Delete",
    retry: "Try again",
    save: "Save",
  },

  connection: {
    lost: "The server cannot be reached. Trying again…",
  },

  failure: {
    title: "Something on this page has failed",
    reload: "Load the page again",
    notFound: "There is no such page.",
  },

  signIn: {
    title: "Sign in to Mainspring",
    key: "API key",
    keyHint: "“mainspring keys create” makes one.",
    submit: "Sign in",
    or: "or",
    organisation: "Sign in with your organisation",
    issuerFailed: "Your organisation’s sign-in did not work. Try again, or use a key; the server’s log has the reason.",
    linkFailed: "That link has been used or is too old. Sign in with a key, or ask for another link.",
  },

  shell: {
    openNavigation: "Show chats",
    closeNavigation: "Hide chats",
    navigation: "Chats",
    skip: "Skip to the message box",
    playground: "Playground",
    account: "Account",
    console: "Console",
    theme: "Theme",
    themes: { light: "Light", dark: "Dark", system: "Like the system" },
    export: "Export all chats",
    import: "Import chats…",
    imported: (count: number) =>
      count === 1 ? "One chat was imported." : `${number.format(count)} chats were imported.`,
    importFailed: "This is no export of chats: neither of these pages nor ChatGPT’s conversations.json.",
    signOut: "Sign out",
    signOutEverywhere: "Sign out everywhere",
  },

  chats: {
    new: "New chat",
    untitled: "New chat",
    search: "Search, or #tag",
    none: "No chats yet.",
    noneFound: "No chat has that in it.",
    more: "Show more",
    pinned: "Pinned",
    today: "Today",
    yesterday: "Yesterday",
    lastWeek: "Last 7 days",
    lastMonth: "Last 30 days",
    menu: (title: string) => `Options of “${title}”`,
    pin: "Pin",
    unpin: "Unpin",
    edit: "Title, folder and tags…",
    delete: "Delete…",
    editTitle: "Title, folder and tags",
    title: "Title",
    folder: "Folder",
    folderHint: "Empty: in no folder.",
    tags: "Tags",
    tagsHint: "Separated by commas.",
    deleteTitle: "Delete this chat?",
    deleteText: (title: string) => `“${title}” and everything said in it will be gone for good.`,
    gone: "This chat does not exist, or is not yours.",
  },

  share: {
    menu: "Share…",
    title: "Links to this chat",
    text: "Whoever has a link can read what was said up to now, without signing in. What is said later stays yours.",
    create: "Make a link",
    made: (when: string) => `Made ${when}`,
    copy: "Copy the link",
    withdraw: "Withdraw the link",
    about: "A conversation that somebody has shared, to be read.",
  },

  composer: {
    label: "Message",
    placeholder: "Ask anything",
    send: "Send",
    stop: "Stop the answer",
    model: "Model",
    noModels: "No model is deployed",
    /** Of a model that does not answer at once. */
    states: { idle: "loads with the first question", starting: "loading…", restarting: "restarting…" },
    settings: "Settings of this chat",
    attach: "Attach files",
    filesBusy: "Files are being read. They can be asked about once they are.",
  },

  settings: {
    title: "Settings of this chat",
    instructions: "System prompt",
    instructionsHint: "What the model is told before your first message.",
    temperature: "Temperature",
    topP: "Top P",
    maxTokens: "Longest answer, in tokens",
    seed: "Seed",
    unset: "Model’s own",
  },

  welcome: {
    temporary: "Temporary chat",
    temporaryHint: "In no list, and forgotten after a day.",
    title: "What shall we think about?",
    text: "Answers are made on your own server. They go on when you leave, and wait for you.",
  },

  turn: {
    conversation: "Conversation",
    loading: "Loading the conversation…",
    you: "You",
    queued: "Waiting for its turn…",
    waiting: "Waiting for the model…",
    thinking: "Thinking…",
    thought: "Thoughts",
    tool: (type: string) => `Used a tool: ${type.replace(/_call$/, "").replaceAll("_", " ")}`,
    searched: (queries: string) => `Searched the files for ${queries}`,
    began: "An answer has begun.",
    ended: "The answer is complete.",
    stopped: "You stopped this answer.",
    failed: "The answer has failed.",
    cut: "The answer is as long as it may be, and ends here.",
    filtered: "A content filter has ended this answer.",
    incomplete: "The answer ends early.",
    edit: "Edit the question",
    saveEdit: "Ask again",
    retry: "Make another answer",
    continue: "Continue",
    copy: "Copy the answer as Markdown",
    copyQuestion: "Copy the question",
    words: "Word probabilities",
    more: "More",
    fork: "Continue in a new chat",
    receipt: "Receipt",
    leftOut: "The model no longer sees this: it does not fit into its context",
    delete: "Delete from here on…",
    deleteTitle: "Delete this question?",
    deleteText: "Its answer, and everything that was said after it on this branch, will be gone for good.",
    versions: "Versions",
    previousVersion: "Previous version",
    nextVersion: "Next version",
    version: (at: number, of: number) => `${at} / ${of}`,
    newest: "Jump to the newest message",
    plain: "This answer is too large to be shown with its formatting.",
    usage: (input: number, output: number) => `${number.format(input)} + ${number.format(output)} tokens`,
    usageTitle: (input: number, cached: number, output: number) =>
      `${number.format(input)} tokens read, ${number.format(cached)} of them from the cache; ${number.format(output)} written`,
    seconds: (seconds: number) => `${number.format(seconds)} s`,
  },

  words: {
    label: "Answer, word by word. Arrow keys move, Enter shows what else could have come.",
    probability: (probability: number) => percent.format(probability),
    alternatives: "What else could have come here",
    chosen: "chosen",
    none: "How likely the words of this answer were is not known.",
    regrow: (text: string) => `Go on with “${text}” instead`,
  },

  code: {
    copy: "Copy the code",
    plain: "text",
  },

  image: (alt: string) => (alt ? `Image: ${alt}` : "Image"),
} as const;
