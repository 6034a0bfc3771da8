"""Chats that were stored: list, look at, label and delete them."""

from functools import partial
from typing import Annotated, Any, cast

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.pages import Page, labels_in, page_of
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.store.stored_chats import ChatFilter, StoredChat, StoredChats

__all__ = ["StoredChatList", "UpdateStoredChatRequest", "stored_chat_operations"]

Labels = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]


class UpdateStoredChatRequest(Wire):
    """The body of an update: labels in the place of those that were there."""

    metadata: Labels | None = Field(max_length=16)


class StoredChoice(msgspec.Struct, frozen=True):
    """One of the answers, as it was sent."""

    index: int
    message: dict[str, Any]
    logprobs: dict[str, Any] | None
    finish_reason: str


class StoredCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A stored answer: a chat completion, its labels, and the parameters it was made with."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: list[StoredChoice]
    usage: dict[str, Any]
    metadata: dict[str, str]
    service_tier: str
    system_fingerprint: str
    request_id: str
    input_user: str | None
    frequency_penalty: float | None
    presence_penalty: float | None
    response_format: dict[str, Any] | None
    seed: int | None
    temperature: float | None
    tool_choice: str | dict[str, Any] | None
    tools: list[dict[str, Any]] | None
    top_p: float | None

    @classmethod
    def of(cls, chat: StoredChat) -> "StoredCompletion":
        """From the row below the edge."""
        return msgspec.convert({**chat.answer, "metadata": chat.labels}, cls)


class StoredChatList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of stored answers; `first_id` and `last_id` are of this page, and empty if it is."""

    object: str = "list"
    data: list[StoredCompletion]
    first_id: str
    last_id: str
    has_more: bool


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was asked with. `content` is all of its text, `content_parts` its parts if it had any."""

    id: str
    role: str
    content: str | None
    refusal: str | None = None
    name: str | None = None
    content_parts: list[dict[str, Any]] | None = None
    tool_call_id: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class StoredMessageList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of messages, as of `StoredChatList`."""

    object: str = "list"
    data: list[StoredMessage]
    first_id: str
    last_id: str
    has_more: bool


class StoredChatGone(msgspec.Struct, frozen=True, kw_only=True):
    """That a stored chat is deleted."""

    object: str = "chat.completion.deleted"
    id: str
    deleted: bool = True


class StoredChatRoutes:
    """The handlers in every dialect."""

    def __init__(self, services: Services, chats: StoredChats) -> None:
        self._services, self._chats = services, chats

    async def list(self, http: Request) -> Response:
        """Those of the project that are asked for."""
        wanted = page_of(http, descending=False)
        chosen = ChatFilter(model=http.query_params.get("model") or None, labels=labels_in(http)[0])
        found, more = await self._chats.list(context_of(http).project, chosen, **wanted)
        first, last = (found[0].id, found[-1].id) if found else ("", "")
        data = [StoredCompletion.of(chat) for chat in found]
        return replies.json(StoredChatList(data=data, first_id=first, last_id=last, has_more=more))

    async def retrieve(self, http: Request) -> Response:
        """One."""
        return replies.json(StoredCompletion.of(await self._chats.get(*_named(http))))

    async def update(self, http: Request) -> Response:
        """Label one."""
        body = await read_body(http, UpdateStoredChatRequest, self._services.max_body_bytes)
        return replies.json(StoredCompletion.of(await self._chats.label(*_named(http), body.metadata or {})))

    async def delete(self, http: Request) -> Response:
        """Delete one."""
        project, id = _named(http)  # noqa: A001 - what the API calls it
        await self._chats.remove(project, id)
        return replies.json(StoredChatGone(id=id))

    async def messages(self, http: Request) -> Response:
        """What one was asked with."""
        wanted = page_of(http, descending=False)
        chat = await self._chats.get(*_named(http))
        found = [_message(f"{chat.id}-{at}", each) for at, each in enumerate(chat.messages)]
        return replies.json(_cut(found, wanted))


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["completion_id"]


def _message(id: str, sent: dict[str, Any]) -> StoredMessage:  # noqa: A002 - what the API calls it
    content = cast("str | list[dict[str, Any]] | None", sent.get("content"))
    parts = content if isinstance(content, list) else None
    text = content if not isinstance(content, list) else "".join(
        str(part.get("text", part.get("refusal", ""))) for part in content
    )  # fmt: skip
    return StoredMessage(
        id=id, role=sent["role"], content=text, refusal=sent.get("refusal"), name=sent.get("name"),
        content_parts=parts, tool_call_id=sent.get("tool_call_id") or msgspec.UNSET,
        tool_calls=sent.get("tool_calls") or msgspec.UNSET,
    )  # fmt: skip


def _cut(found: list[StoredMessage], wanted: Page) -> StoredMessageList:
    """The page of a list that is all there."""
    after, limit = wanted["after"], wanted["limit"]
    ordered = found[::-1] if wanted["descending"] else found
    start = 0
    if after is not None:
        start = next((at for at, each in enumerate(ordered, 1) if each.id == after), 0)
        if not start:
            raise InvalidRequest(f"'after' is no message of this chat: {after[:100]!r}.", param="after")
    data = ordered[start : start + limit]
    first, last = (data[0].id, data[-1].id) if data else ("", "")
    return StoredMessageList(data=data, first_id=first, last_id=last, has_more=start + limit < len(ordered))


_PAGE = ("page/after", "page/limit", "page/order")


def stored_chat_operations(services: Services, chats: StoredChats, prefix: str, dialect: Dialect) -> list[Operation]:
    """Every route of a dialect, for the table of the application."""
    routes, asks = StoredChatRoutes(services, chats), partial(Operation, needs="inference", dialect=dialect)
    every, name = f"{prefix}/chat/completions", f"{dialect}_stored_chats"
    one = f"{every}/{{completion_id}}"
    return [
        asks(method="GET", path=every, handler=routes.list, name=f"{name}_list", summary="List stored chats",
             reply=StoredChatList, query=(*_PAGE, "chats/model", "page/metadata"), extra_status=(400, 503)),
        asks(method="GET", path=one, handler=routes.retrieve, name=f"{name}_retrieve", summary="Show a stored chat",
             reply=StoredCompletion, extra_status=(503,)),
        asks(method="POST", path=one, handler=routes.update, name=f"{name}_update", summary="Label a stored chat",
             body=UpdateStoredChatRequest, reply=StoredCompletion),
        asks(method="DELETE", path=one, handler=routes.delete, name=f"{name}_delete", summary="Delete a stored chat",
             reply=StoredChatGone, extra_status=(503,)),
        asks(method="GET", path=f"{one}/messages", handler=routes.messages, name=f"{name}_messages",
             summary="List what a stored chat was asked with", reply=StoredMessageList, query=_PAGE,
             extra_status=(400, 503)),
    ]  # fmt: skip
