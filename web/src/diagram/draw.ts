/**
 * Has diagrams drawn, one after the other, by a hidden document without rights (frame.ts). It is made when the first
 * diagram comes, and thrown away when one takes too long. What was drawn is kept for a while: a turn that is scrolled
 * out of sight and back is not drawn again.
 */

import { url } from "../api/client";
import { isReply, MAX_SOURCE, type Order, type Picture, type Reply } from "./order";
import { strings } from "./strings";

/** Till the document is there, and till a diagram is. The first of its kind has yet to load what draws it. */
const LOADING_MS = 30_000;
const DRAWING_MS = 10_000;
const MAX_KEPT = 60;

const kept = new Map<string, Picture | Error>();
let last: Promise<unknown> = Promise.resolve();
let frame: Promise<Frame> | undefined;
let numOrders = 0;

/** What was made of a source before, if it is still known. */
export function drawn(source: string, isDark: boolean): Picture | Error | undefined {
  return kept.get(keyOf(source, isDark));
}

/** The picture, or why there is none. */
export function draw(source: string, isDark: boolean): Promise<Picture | Error> {
  const turn = last.then(() => drawn(source, isDark) ?? drawNow(source, isDark));
  last = turn;
  return turn;
}

async function drawNow(source: string, isDark: boolean): Promise<Picture | Error> {
  if (source.length > MAX_SOURCE) return new Error(strings.tooLong);
  try {
    frame ??= Frame.open();
    const reply = await (await frame).draw({ id: ++numOrders, source, isDark });
    return keep(keyOf(source, isDark), "picture" in reply ? reply.picture : new Error(reply.error));
  } catch (error) {
    // Not kept: it may have been the network.
    void frame?.then((each) => each.close()).catch(() => {});
    frame = undefined;
    return error instanceof Error ? error : new Error(String(error));
  }
}

function keyOf(source: string, isDark: boolean): string {
  return `${isDark ? "dark" : "light"} ${source}`;
}

function keep(key: string, made: Picture | Error): Picture | Error {
  kept.set(key, made);
  for (const oldest of kept.keys()) {
    if (kept.size <= MAX_KEPT) break;
    kept.delete(oldest);
  }
  return made;
}

class Frame {
  readonly #element = document.createElement("iframe");

  static async open(): Promise<Frame> {
    const frame = new Frame();
    const element = frame.#element;
    element.title = strings.drawing;
    element.tabIndex = -1;
    element.ariaHidden = "true";
    element.className = "drawing";
    element.sandbox.add("allow-scripts");
    element.src = url("diagram.html");
    try {
      await frame.#hear("ready", LOADING_MS, () => document.body.append(element));
    } catch (error) {
      frame.close();
      throw error;
    }
    return frame;
  }

  async draw(order: Order): Promise<Exclude<Reply, { ready: true }>> {
    const ask = () => this.#element.contentWindow?.postMessage(order, "*");
    const reply = await this.#hear(order.id, DRAWING_MS, ask);
    if ("ready" in reply) throw new Error(strings.failed);
    return reply;
  }

  close(): void {
    this.#element.remove();
  }

  /** The reply to an order, or the word that it is there, which follows when `ask` was called. */
  #hear(what: number | "ready", longest_ms: number, ask: () => void): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        removeEventListener("message", onMessage);
        clearTimeout(timer);
        act();
      };
      const onMessage = ({ source, data }: MessageEvent<unknown>) => {
        if (source !== this.#element.contentWindow || !isReply(data)) return;
        if (what === ("ready" in data ? "ready" : data.id)) settle(() => resolve(data));
      };
      const timer = setTimeout(() => settle(() => reject(new Error(strings.tooSlow))), longest_ms);
      addEventListener("message", onMessage);
      ask();
    });
  }
}
