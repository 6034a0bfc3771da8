/** Server-sent events, of which only the data counts: what the other fields say is in it again. */

/** Takes the text of a stream in any pieces. */
export class SseParser {
  #rest = "";
  #data: string[] = [];

  /** The data of each event that `text` completes. */
  push(text: string): string[] {
    // A CR at the very end may be one half of a CRLF: it waits for what follows.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    const events: string[] = [];
    for (const line of lines) {
      if (line.startsWith("data:")) this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      if (line !== "" || this.#data.length === 0) continue;
      events.push(this.#data.join("\n"));
      this.#data = [];
    }
    return events;
  }
}

export async function* sseData(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      yield* parser.push(decoder.decode(read.value, { stream: true }));
    }
  } finally {
    // Whoever stops listening closes the connection; that it is closed already is no news.
    await reader.cancel().catch(() => {});
  }
}
