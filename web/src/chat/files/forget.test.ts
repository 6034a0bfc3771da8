import { beforeEach, describe, expect, it, vi } from "vitest";
import { everyChat } from "../../api/chats";
import type { Chat } from "../../api/types";
import { removeStore } from "./api";
import { forgetFiles } from "./forget";

vi.mock("../../api/chats");
vi.mock("./api");

async function* of(...stores: (string | undefined)[]): AsyncGenerator<Chat> {
  for (const vector_store of stores) yield { settings: vector_store ? { vector_store } : {} } as Chat;
}

describe("forgetFiles", () => {
  beforeEach(() => {
    vi.resetAllMocks();
  });

  it("deletes the files and what they were read into", async () => {
    vi.mocked(everyChat).mockReturnValue(of("vs_2", undefined));
    await forgetFiles({ settings: { vector_store: "vs_1" } });
    expect(removeStore).toHaveBeenCalledWith("vs_1");
  });

  it("leaves what another chat is asked about", async () => {
    vi.mocked(everyChat).mockReturnValue(of("vs_2", "vs_1"));
    await forgetFiles({ settings: { vector_store: "vs_1" } });
    expect(removeStore).not.toHaveBeenCalled();
  });

  it("asks nothing of a chat without files", async () => {
    await forgetFiles({ settings: {} });
    expect(everyChat).not.toHaveBeenCalled();
  });
});
