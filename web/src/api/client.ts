/** Requests to the server that these pages come from: addresses, errors, and whether it can be reached. */

/** What the server said is wrong. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    /** Which of what was sent is meant, such as "method.supervised.hyperparameters.n_epochs". */
    readonly param = "",
  ) {
    super(message);
  }

  /** Whether the same request may succeed a little later. */
  get isTransient(): boolean {
    return this.status >= 500 || this.status === 408 || this.status === 429;
  }
}

/** An address below the prefix that the server is reached under, which it has put into `<base href>`. */
export function url(path: string): string {
  return new URL(path, document.baseURI).href;
}

let csrf = "";
let signedOut = () => {};

/** The token that goes with the cookie of the session. */
export function setCsrf(token: string): void {
  csrf = token;
}

/** What to do when the server no longer knows who asks. */
export function whenSignedOut(react: () => void): void {
  signedOut = react;
}

let isReachable = true;
const watchers = new Set<() => void>();

/** Whether the last request reached the server. `navigator.onLine` does not tell: a loopback server needs no network. */
export const connection = {
  isUp: () => isReachable,
  subscribe(watcher: () => void) {
    watchers.add(watcher);
    return () => void watchers.delete(watcher);
  },
};

function setReachable(now: boolean): void {
  if (now === isReachable) return;
  isReachable = now;
  for (const watcher of watchers) watcher();
}

interface Options {
  body?: object;
  signal?: AbortSignal;
}

/**
 * Send a request, and have its answer if it is a success.
 *
 * @throws ApiError if the server refuses, TypeError if it cannot be reached.
 */
export async function send(
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
  path: string,
  { body, signal }: Options = {},
): Promise<globalThis.Response> {
  const headers = new Headers();
  if (method !== "GET") headers.set("x-csrf-token", csrf);
  const init: RequestInit = { method, headers };
  if (body !== undefined) {
    headers.set("content-type", "application/json");
    init.body = JSON.stringify(body);
  }
  if (signal !== undefined) init.signal = signal;
  let response: globalThis.Response;
  try {
    response = await fetch(url(path), init);
  } catch (error) {
    if (!signal?.aborted) setReachable(false);
    throw error;
  }
  setReachable(true);
  if (response.ok) return response;
  const error = await errorOf(response);
  // Of the session's own path, 401 means a wrong key.
  if (error.status === 401 && !path.startsWith("v1/x/session")) signedOut();
  throw error;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await send("GET", path, signal && { signal })).json();
}

export async function post<T>(path: string, body: object = {}): Promise<T> {
  return (await send("POST", path, { body })).json();
}

export async function remove<T>(path: string): Promise<T> {
  return (await send("DELETE", path)).json();
}

/**
 * Send a form with a file, and be told how much of it has arrived: from 0 to 1. `fetch` does not tell.
 *
 * @throws ApiError if the server refuses, TypeError if it cannot be reached or `signal` says no.
 */
export function upload<T>(path: string, form: FormData, tell: (part: number) => void, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url(path));
    request.setRequestHeader("x-csrf-token", csrf);
    request.responseType = "text";
    request.upload.onprogress = ({ loaded, total }) => tell(total > 0 ? loaded / total : 0);
    request.onload = () => {
      const { status, statusText, responseText } = request;
      if (status >= 200 && status < 300) return resolve(JSON.parse(responseText));
      if (status === 401) signedOut();
      errorOf(new Response(responseText, { status, statusText })).then(reject);
    };
    request.onerror = () => {
      setReachable(false);
      reject(new TypeError(`${path} cannot be reached`));
    };
    request.onabort = () => reject(new TypeError("Stopped."));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** From the body that all errors of the server share, or from the status if a proxy has answered in its place. */
async function errorOf(response: globalThis.Response): Promise<ApiError> {
  const body = await response.json().catch(() => null);
  const { code, message, param } = body?.error ?? {};
  return new ApiError(response.status, code ?? "", message ?? `${response.status} ${response.statusText}`, param ?? "");
}
