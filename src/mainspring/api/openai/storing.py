"""`store: true` of chat/completions: a writer that writes what another one does, and has the whole answer stored when
it has ended. The client waits for nothing: `store.stored_chats` writes to the database afterwards."""

from collections.abc import Callable
from typing import Any

import msgspec

from mainspring.api.context import Context
from mainspring.api.openai import replies, wire
from mainspring.api.services import Services
from mainspring.api.sse import Writer
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Said, Screened
from mainspring.store.stored_chats import StoredChat

__all__ = ["Storing", "stored_chat"]

_SHOWN = (
    "frequency_penalty", "presence_penalty", "response_format", "seed", "temperature", "tool_choice", "tools", "top_p",
)  # fmt: skip
"""Parameters that a stored answer shows, as OpenAI's does."""


class Storing:
    """Both writers see every event; what the second one makes of them is kept.

    Args:
        writer: what the client is sent.
        fold: makes one body of the whole answer.
        keep: is given what makes that body, once it can be made.
    """

    def __init__(self, writer: Writer, fold: Writer, keep: Callable[[Callable[[], bytes]], None]) -> None:
        self.streams, self.tally = writer.streams, writer.tally
        self._writer, self._fold, self._keep = writer, fold, keep

    def begin(self) -> bytes:
        """See `Writer`."""
        return self._writer.begin()

    def feed(self, prompt: int, event: Said | Screened) -> bytes:
        """See `Writer`."""
        self._fold.feed(prompt, event)
        return self._writer.feed(prompt, event)

    def end(self) -> bytes:
        """See `Writer`. Raises for an answer that is not whole, which is then not stored."""
        last = self._writer.end()
        self._keep(self._fold.end)
        return last


def stored_chat(
    services: Services, context: Context, body: wire.DeploymentChatRequest, meta: replies.Meta
) -> Callable[[Callable[[], bytes]], None]:
    """What keeps the answer to a request.

    Raises:
        InvalidRequest: nothing is stored here.
    """
    chats = services.stored_chats
    if chats is None:
        raise InvalidRequest(
            "Unsupported parameter: 'store': this server stores no chats.", code="unsupported_parameter", param="store"
        )
    sent: dict[str, Any] = body.model_dump(
        mode="json", by_alias=True, exclude_unset=True, include={"messages", *_SHOWN}
    )
    created, creator = services.clock.now(), context.principal.id if context.principal else ""

    def made(answer: bytes) -> StoredChat:
        whole: dict[str, Any] = msgspec.json.decode(answer)
        for name in _SHOWN:
            whole[name] = sent.get(name)
        return StoredChat(
            id=meta.id, project=context.project, model=meta.model, created=created, creator=creator[:128],
            labels=body.metadata or {}, messages=sent["messages"],
            answer={**whole, "request_id": context.request_id, "input_user": body.user},
        )  # fmt: skip

    return lambda end: chats.keep(meta.id, lambda: made(end()))
