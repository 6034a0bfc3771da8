"""What has changed of one's chats, for other tabs and devices: GET /v1/x/chats/changes waits until something has.

A request that waits, and no stream: it passes every proxy, and what is missed between two is in the answer to the next.
"""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openapi import Operation
from mainspring.api.services import Stateful
from mainspring.core.errors import InvalidRequest

__all__ = ["change_operations"]

LONGEST_S = 25
"""Proxies give up on an answer after 30 s or more."""
MOST = 2**63 - 1


class ChatChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A chat that has changed: it began, was renamed, said something in, or has answered. `cut` says that turns of it
    were deleted, `deleted` that all of it was."""

    id: str
    object: Literal["chat.changed"] = "chat.changed"
    cut: bool
    deleted: bool


class ChatChangeList(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed since `after`, the oldest change first. `cursor` is the next `after`. With `reset` nobody knows
    what has changed since: everything may have."""

    object: Literal["list"] = "list"
    data: list[ChatChanged]
    cursor: str
    reset: bool


class ChangeRoutes:
    """The handler."""

    def __init__(self, stateful: Stateful) -> None:
        self._stateful = stateful

    async def list(self, http: Request) -> HttpResponse:
        """What has changed of theirs who ask, once something has."""
        context, query = context_of(http), http.query_params
        after = _number(query.get("after") or None, "after", MOST)
        wait_s = _number(query.get("wait"), "wait", LONGEST_S)
        found = await self._stateful.changes.wait(
            context.project, context.person, after, LONGEST_S if wait_s is None else wait_s
        )
        data = [ChatChanged(id=each.chat, cut=each.cut > (after or 0), deleted=each.gone) for each in found.changes]
        return replies.json(ChatChangeList(data=data, cursor=str(found.number), reset=found.reset))


def _number(text: str | None, name: str, most: int) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
        raise InvalidRequest(f"Invalid '{name}': it is a whole number from 0 to {most}.", param=name)
    return int(text)


def change_operations(stateful: Stateful) -> list[Operation]:
    """The operation, for the table of the application; it comes before that of a chat by its id."""
    return [
        Operation(
            method="GET", path="/v1/x/chats/changes", handler=ChangeRoutes(stateful).list, name="x_chats_changes",
            summary="Wait until one's chats change", reply=ChatChangeList, dialect="openai", needs="inference",
            extra_status=(400, 503), query=("changes/after", "wait"),
        )
    ]  # fmt: skip
