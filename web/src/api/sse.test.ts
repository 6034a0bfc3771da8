import { expect, test } from "vitest";
import { SseParser, sseData } from "./sse";

const STREAM =
  'event: a\r\ndata: {"x":1}\r\n\r\n: comment\ndata: two\r\ndata:lines\r\n\r\nid: 7\n\rdata: é\r\rdata: cut';
const EVENTS = ['{"x":1}', "two\nlines", "é"];

test("a stream means the same in whatever pieces it comes", () => {
  for (let size = 1; size <= STREAM.length; size++) {
    const parser = new SseParser();
    const events: string[] = [];
    for (let at = 0; at < STREAM.length; at += size) events.push(...parser.push(STREAM.slice(at, at + size)));
    expect(events).toEqual(EVENTS);
  }
});

test("a character may be cut between two chunks", async () => {
  const bytes = new TextEncoder().encode("data: é\n\n");
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const events: string[] = [];
  for await (const data of sseData(body)) events.push(data);
  expect(events).toEqual(["é"]);
});
