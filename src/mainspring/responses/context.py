"""What a response goes on from: a chain of responses, or a conversation; and what its input refers to."""

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import InvalidRequest
from mainspring.responses.ask import Ask
from mainspring.store.conversations import entries_of, find_conversation
from mainspring.store.responses import Entry, Kept, chain_of, find_entries, find_response

__all__ = ["Context", "history_of", "resolve"]


class Context(msgspec.Struct, frozen=True):
    """What was said before, and the response's own input."""

    history: list[Entry]
    given: list[Entry]

    @property
    def entries(self) -> list[Entry]:
        """Both, in order."""
        return [*self.history, *self.given]


async def history_of(connection: AsyncConnection, ask: Ask, now_s: float) -> list[Entry]:
    """What was said before.

    Raises:
        InvalidRequest: there is no such response, or it is not over.
        NotFound: there is no such conversation.
    """
    if ask.conversation is not None:
        found = await find_conversation(connection, ask.project, ask.conversation)
        return await entries_of(connection, found.id)
    if ask.previous is None:
        return []
    return await chain_of(connection, await previous_of(connection, ask, now_s), now_s)


async def previous_of(connection: AsyncConnection, ask: Ask, now_s: float) -> Kept:
    """The response that this one goes on from. Raises as `history_of`."""
    previous = await find_response(connection, ask.project, ask.previous or "", now_s, ask.owner)
    if previous is None:
        raise _wrong(
            f"Previous response with id '{(ask.previous or '')[:100]}' not found.", "previous_response_not_found"
        )
    if previous.status in ("queued", "in_progress"):
        raise _wrong(f"The response '{previous.id}' is {previous.status}: wait for its end.", "response_not_completed")
    if previous.chat != (ask.chat or None):
        where = f"the chat '{previous.chat}'" if previous.chat else "no chat"
        raise _wrong(f"The response '{previous.id}' belongs to {where}: go on there.", "invalid_value")
    if previous.conversation is not None:
        raise _wrong(
            f"The response '{previous.id}' belongs to the conversation '{previous.conversation}': go on with "
            "'conversation'.",
            "invalid_value",
        )
    return previous


def _wrong(message: str, code: str) -> InvalidRequest:
    return InvalidRequest(message, code=code, param="previous_response_id")


async def resolve(connection: AsyncConnection, ask: Ask, now_s: float) -> Context:
    """Everything, with the items that the input refers to in their places.

    Raises:
        InvalidRequest: an item that it refers to is not there; and as `history_of`.
    """
    history = await history_of(connection, ask, now_s)
    wanted = [item["id"] for item in ask.input if item["type"] == "item_reference"]
    known = {entry.id: entry for entry in history}
    missing = [id for id in wanted if id not in known]  # noqa: A001
    if missing:
        known |= await find_entries(connection, ask.project, missing, now_s, ask.owner)
    return Context(history, [_given(item, known) for item in ask.input])


def _given(item: dict[str, Any], known: dict[str, Entry]) -> Entry:
    if item["type"] != "item_reference":
        return Entry(item)
    if item["id"] not in known:
        raise InvalidRequest(f"Item with id '{item['id'][:100]}' not found.", param="input")
    return known[item["id"]]
