// A page of @assistant-ui/react's own parts over its AI SDK runtime: a person types, sends and reads.
import { AssistantRuntimeProvider, ComposerPrimitive, MessagePrimitive, ThreadPrimitive } from "@assistant-ui/react";
import { AssistantChatTransport, useChatRuntime } from "@assistant-ui/react-ai-sdk";
import { render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";

const { MAINSPRING_URL: url, MAINSPRING_KEY: key, MAINSPRING_MODEL: model } = process.env;

// What a browser has and jsdom has not.
globalThis.ResizeObserver ??= class { observe() {} unobserve() {} disconnect() {} };
Element.prototype.scrollTo ??= () => {};

function Message() {
  return <MessagePrimitive.Root><MessagePrimitive.Parts components={{ Text: ({ text }) => <p>{text}</p> }} /></MessagePrimitive.Root>;
}
const User = () => <div data-testid="user"><Message /></div>;
const Assistant = () => <div data-testid="assistant"><Message /></div>;

function Page() {
  const headers = { authorization: `Bearer ${key}` };
  const runtime = useChatRuntime({
    transport: new AssistantChatTransport({ api: `${url}/v1/x/ui/chat`, headers, body: { model } }),
  });
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <ThreadPrimitive.Root>
        <ThreadPrimitive.Viewport>
          <ThreadPrimitive.Messages components={{ UserMessage: User, AssistantMessage: Assistant }} />
        </ThreadPrimitive.Viewport>
        <ComposerPrimitive.Root><ComposerPrimitive.Input /><ComposerPrimitive.Send>Send</ComposerPrimitive.Send></ComposerPrimitive.Root>
      </ThreadPrimitive.Root>
    </AssistantRuntimeProvider>
  );
}

test("a conversation of two turns", async () => {
  render(<Page />);
  const user = userEvent.setup();
  for (const [at, question] of ["Hello, who are you?", "And what can you do?"].entries()) {
    await user.type(screen.getByRole("textbox"), question);
    await user.click(screen.getByText("Send"));
    await waitFor(() => {
      expect(screen.getAllByTestId("user")).toHaveLength(at + 1);
      expect(screen.getAllByTestId("assistant")[at].textContent.length).toBeGreaterThan(5);
      expect(screen.getByText("Send").disabled).toBe(true); // idle with an empty box
    }, { timeout: 30_000 });
  }
  expect(screen.getAllByTestId("user").map(({ textContent }) => textContent)).toEqual([
    "Hello, who are you?", "And what can you do?",
  ]);
});
