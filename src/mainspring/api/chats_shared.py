"""Links to read chats with: made and withdrawn by a chat's owner, read by whoever has one, signed in or not."""

from functools import partial
from typing import Any, Literal, cast

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.context import SHARED, context_of
from mainspring.api.openai import replies
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, Stateful
from mainspring.responses.chats import Turn
from mainspring.responses.items import ResponseStatus
from mainspring.responses.shown import shown_entry
from mainspring.store.shares import Share

__all__ = ["share_operations"]


class ShareRequest(Wire):
    """How far a link lets its reader read."""

    turn: str | None = Field(None, min_length=1, max_length=128, description="The last; None is the chat's head.")


class ChatShare(msgspec.Struct, frozen=True, kw_only=True):
    """A link: its page is at /s/ID."""

    id: str
    object: Literal["chat.share"] = "chat.share"
    chat: str
    turn: str
    created_at: int

    @classmethod
    def of(cls, share: Share) -> "ChatShare":
        """From what is kept."""
        return cls(id=share.id, chat=share.chat, turn=share.turn, created_at=int(share.created))


class ChatShareList(msgspec.Struct, frozen=True, kw_only=True):
    """All links to a chat, oldest first."""

    object: Literal["list"] = "list"
    data: list[ChatShare]


class ChatShareDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a link is withdrawn."""

    id: str
    object: Literal["chat.share.deleted"] = "chat.share.deleted"
    deleted: bool = True


class SharedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What was said and answered, and nothing of how: no instructions, tools or probabilities."""

    id: str
    created_at: int
    status: ResponseStatus
    model: str
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]


class SharedChat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat as the reader of a link sees it."""

    object: Literal["chat.shared"] = "chat.shared"
    title: str
    turns: list[SharedTurn]


class ShareRoutes:
    """The handlers."""

    def __init__(self, services: Services, stateful: Stateful) -> None:
        self._services, self._chats = services, stateful.chats

    async def create(self, http: Request) -> HttpResponse:
        """Make a link."""
        body = await read_body(http, ShareRequest, self._services.max_body_bytes)
        return replies.json(ChatShare.of(await self._chats.share(*_named(http), body.turn)))

    async def list(self, http: Request) -> HttpResponse:
        """The links to a chat."""
        found = await self._chats.shares(*_named(http))
        return replies.json(ChatShareList(data=[ChatShare.of(each) for each in found]))

    async def delete(self, http: Request) -> HttpResponse:
        """Withdraw one."""
        id = http.path_params["share_id"]  # noqa: A001
        await self._chats.unshare(*_named(http), id)
        return replies.json(ChatShareDeleted(id=id))

    async def read(self, http: Request) -> HttpResponse:
        """What a link leads to."""
        chat, turns = await self._chats.shared(http.path_params["share_id"])
        return replies.json(SharedChat(title=chat.title, turns=[_shared(turn) for turn in turns]))


def _shared(turn: Turn) -> SharedTurn:
    response = turn.response
    said = [
        [shown_entry(entry, ()) for entry in entries if entry.item["type"] == "message"]
        for entries in (turn.given, turn.outputs)
    ]
    return SharedTurn(
        id=response.id, created_at=int(response.created), status=cast("ResponseStatus", response.status),
        model=response.body["model"], input=[item for item in said[0] if item["role"] == "user"], output=said[1],
    )  # fmt: skip


def _named(http: Request) -> tuple[str, str, str]:
    context = context_of(http)
    return context.project, context.person, http.path_params["chat_id"]


def share_operations(services: Services, stateful: Stateful) -> list[Operation]:
    """The operations, for the table of the application."""
    routes, path = ShareRoutes(services, stateful), "/v1/x/chats/{chat_id}/shares"
    asks = partial(Operation, dialect="openai", needs="inference", extra_status=(400, 503))
    return [
        asks(method="POST", path=path, handler=routes.create, name="x_chats_shares_create",
             summary="Make a link to read a chat with", body=ShareRequest, reply=ChatShare),
        asks(method="GET", path=path, handler=routes.list, name="x_chats_shares_list",
             summary="List the links to a chat", reply=ChatShareList),
        asks(method="DELETE", path=f"{path}/{{share_id}}", handler=routes.delete, name="x_chats_shares_delete",
             summary="Withdraw a link", reply=ChatShareDeleted),
        Operation(
            method="GET", path=f"{SHARED}{{share_id}}", handler=routes.read, name="x_shared_retrieve", needs=None,
            summary="Read what a link leads to, without a key", reply=SharedChat, dialect="openai",
            extra_status=(404, 503),
        ),
    ]  # fmt: skip
