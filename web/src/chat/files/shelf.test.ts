import { beforeEach, expect, test, vi } from "vitest";
import { ApiError } from "../../api/client";
import * as api from "./api";
import { Shelf } from "./shelf";

vi.mock("./api");
const server = vi.mocked(api);

const stored = (id: string, rest: Partial<api.Stored> = {}): api.Stored => ({
  id,
  status: "completed",
  last_error: null,
  attributes: { filename: `${id}.md` },
  ...rest,
});
const file = (name: string) => new File(["text"], name);
const states = (shelf: Shelf) => shelf.files().map(({ name, state, problem }) => [name, state, problem]);

beforeEach(() => {
  vi.resetAllMocks();
  server.createStore.mockResolvedValue("vs_1");
  server.sendFile.mockImplementation(async ({ name }) => `file-${name}`);
  server.getFile.mockImplementation(async (_, id) => stored(id));
});

test("files that are added at once are put into one store, which is kept", async () => {
  const kept: string[] = [];
  const shelf = new Shelf(undefined, async (store) => kept.push(store));
  shelf.add([file("a"), file("b")]);
  expect([shelf.isBusy(), shelf.isUsable()]).toEqual([true, false]);
  await vi.waitFor(() => expect(shelf.isBusy()).toBe(false));
  expect(kept).toEqual(["vs_1"]);
  expect(server.attach.mock.calls).toEqual([
    ["vs_1", "file-a", "a"],
    ["vs_1", "file-b", "b"],
  ]);
  expect([states(shelf), shelf.isUsable()]).toEqual([
    [
      ["a", "ready", ""],
      ["b", "ready", ""],
    ],
    true,
  ]);
});

test("what the server says of a file that it cannot read is shown, and there is nothing to search", async () => {
  server.getFile.mockResolvedValue(stored("x", { status: "failed", last_error: { code: "c", message: "No text." } }));
  const shelf = new Shelf(undefined, async () => {});
  shelf.add([file("a")]);
  await vi.waitFor(() => expect(states(shelf)).toEqual([["a", "failed", "No text."]]));
  expect([shelf.isBusy(), shelf.isUsable(), shelf.hasFiles()]).toEqual([false, false, true]);
});

test("a store that could not be kept is made anew for the next file", async () => {
  const keep = vi.fn().mockRejectedValueOnce(new Error("Offline.")).mockResolvedValue(undefined);
  const shelf = new Shelf(undefined, keep);
  shelf.add([file("a")]);
  await vi.waitFor(() => expect(states(shelf)).toEqual([["a", "failed", "Offline."]]));
  shelf.add([file("b")]);
  await vi.waitFor(() => expect(shelf.isUsable()).toBe(true));
  expect(keep).toHaveBeenCalledTimes(2);
});

test("a file that is removed while it is sent is deleted when it has arrived", async () => {
  let arrive = (_: string) => {};
  server.sendFile.mockReturnValue(
    new Promise((resolve) => {
      arrive = resolve;
    }),
  );
  const shelf = new Shelf("vs_1", async () => {});
  server.listFiles.mockResolvedValue([]);
  await shelf.load("vs_1");
  shelf.add([file("a")]);
  await vi.waitFor(() => expect(server.sendFile).toHaveBeenCalled());
  await shelf.remove(shelf.files()[0]?.key ?? "");
  arrive("file-a");
  await vi.waitFor(() => expect(server.removeFile).toHaveBeenCalledWith("file-a"));
  expect([shelf.files(), server.attach.mock.calls]).toEqual([[], []]);
});

test("what is in the store is shown; a store that is gone is as none", async () => {
  server.listFiles.mockResolvedValue([stored("a"), stored("b", { status: "in_progress" })]);
  const shelf = new Shelf("vs_1", async () => {});
  expect(shelf.isBusy()).toBe(true);
  await shelf.load("vs_1");
  await vi.waitFor(() =>
    expect(states(shelf)).toEqual([
      ["a.md", "ready", ""],
      ["b.md", "ready", ""],
    ]),
  );
  server.listFiles.mockRejectedValue(new ApiError(404, "not_found", "No such store."));
  const lost = new Shelf("vs_2", async () => {});
  await lost.load("vs_2");
  expect([lost.isBusy(), lost.isUsable()]).toEqual([false, false]);
});
