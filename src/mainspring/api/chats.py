"""Chats, under /v1/x/chats: what a chat site keeps beside the Responses API, and nothing that API has already.

A turn is asked for here with the body of POST /v1/responses; what is made is an ordinary response in the background,
which is followed (GET /v1/responses/{id}?stream=true), cancelled and deleted there. A chat and its turns are their
owner's: for everybody else, in the same project too, they are not there.
"""

from functools import partial
from typing import Annotated, Any, Literal, cast

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai.asks import ask_of, response_of
from mainspring.api.openai.pages import page_of, part_of
from mainspring.api.openai.request import deployment
from mainspring.api.openai.responses_answer import EventStream, placed
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openai.wire_responses import CreateResponseRequest
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, Stateful
from mainspring.core.errors import InvalidRequest
from mainspring.responses.ask import Ask
from mainspring.responses.chats import Turn
from mainspring.responses.events import StreamEvent
from mainspring.responses.items import IncompleteDetails, Response, ResponseError, ResponseStatus, ResponseUsage
from mainspring.responses.shown import LOGPROBS, shown_entry
from mainspring.store import chats as kept

__all__ = ["MAX_SETTINGS_BYTES", "Tag", "Title", "chat_operations"]

MAX_SETTINGS_BYTES = 32 * 1024
MAX_PREFIX = 200_000
MAX_SEARCH = 2048
NO_NUL = r"^[^\x00]*$"

Title = Annotated[str, Field(max_length=256, pattern=NO_NUL)]
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_NUL)]


class ChatFields(Wire):
    """What a chat's owner chooses. Settings are the client's own: nothing here reads them."""

    title: Title | None = None
    folder: Title | None = Field(None, description="Where it lies: a path with slashes; empty is nowhere.")
    tags: list[Tag] | None = Field(None, max_length=32)
    pinned: bool | None = None
    settings: dict[str, Any] | None = Field(None, description="At most 32 KB as JSON.")

    def chosen(self) -> dict[str, Any]:
        """The fields that were sent.

        Raises:
            InvalidRequest: the settings are too large.
        """
        if self.settings is not None and len(msgspec.json.encode(self.settings)) > MAX_SETTINGS_BYTES:
            raise InvalidRequest(f"'settings' has more than {MAX_SETTINGS_BYTES:,} bytes.", param="settings")
        return {name: value for name, value in self.model_dump().items() if value is not None}


class CreateChatRequest(ChatFields):
    """A new chat."""

    temporary: bool = Field(False, description="It is in no list, and forgotten after a day.")


class UpdateChatRequest(ChatFields):
    """What is to change of a chat."""

    head: str | None = Field(None, max_length=128, description="The turn that its owner looks at.")


class CreateTurnRequest(CreateResponseRequest):
    """The body of responses, and what only a chat has."""

    prefix: str | None = Field(
        None, max_length=MAX_PREFIX, description="What the answer begins with: it goes on from there."
    )
    search: str | None = Field(
        None, max_length=MAX_SEARCH, description="What 'file_search' looks for before the model is asked."
    )
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1, description="The same seed gives the same answer again.")


class ForkRequest(Wire):
    """Where another chat is to begin."""

    at: str = Field(min_length=1, max_length=128, description="The turn that is the last of its beginning.")


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A chat without what was said. `head` is the turn that was asked for, or chosen, last; `expires_at` is when a
    temporary one is forgotten."""

    id: str
    object: Literal["chat"] = "chat"
    created_at: int
    updated_at: int
    title: str
    folder: str
    tags: list[str]
    pinned: bool
    head: str | None
    expires_at: int | None
    settings: dict[str, Any]

    @classmethod
    def of(cls, chat: kept.Chat) -> "Chat":
        """From what is kept."""
        return cls(
            id=chat.id, created_at=int(chat.created), updated_at=int(chat.updated), title=chat.title,
            folder=chat.folder, tags=chat.tags, pinned=chat.pinned, head=chat.head, settings=chat.settings,
            expires_at=None if chat.expires is None else int(chat.expires),
        )  # fmt: skip


class ChatList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of chats, the newest change first; the ids of an empty page are empty."""

    object: Literal["list"] = "list"
    data: list[Chat]
    first_id: str
    last_id: str
    has_more: bool


class ChatDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a chat is gone."""

    id: str
    object: Literal["chat.deleted"] = "chat.deleted"
    deleted: bool = True


class ChatTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What was said and answered. `previous` is the turn before it; items are those of the Responses API, without
    `logprobs`, which are most of an answer's bytes: GET /v1/responses/{id} has them. What was kept of a response goes
    on as it is: objects with the fields of these structs."""

    id: str
    object: Literal["chat.turn"] = "chat.turn"
    previous: str | None
    created_at: int
    completed_at: int | None
    status: ResponseStatus
    model: str
    instructions: str | None
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]
    usage: ResponseUsage | None
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None

    @classmethod
    def of(cls, turn: Turn) -> "ChatTurn":
        """From what is kept."""
        response, include = turn.response, {*turn.response.include} - {LOGPROBS}
        names = ("completed_at", "instructions", "usage", "error", "incomplete_details")
        shown: dict[str, Any] = {name: response.body.get(name) for name in names}
        return cls(
            id=response.id, previous=response.previous, created_at=int(response.created),
            status=cast("ResponseStatus", response.status), model=response.body["model"],
            input=[shown_entry(each, include) for each in turn.given],
            output=[shown_entry(each, include) for each in turn.outputs], **shown,
        )  # fmt: skip


class ChatTurnList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of turns of all branches; the ids of an empty page are empty."""

    object: Literal["list"] = "list"
    data: list[ChatTurn]
    first_id: str
    last_id: str
    has_more: bool


class ChatRoutes:
    """The handlers."""

    def __init__(self, services: Services, stateful: Stateful) -> None:
        self._services, self._chats, self._responses = services, stateful.chats, stateful.responses

    async def create(self, http: Request) -> HttpResponse:
        """Begin one."""
        body = await read_body(http, CreateChatRequest, self._services.max_body_bytes)
        return replies.json(Chat.of(await self._chats.create(*_who(http), **body.chosen())))

    async def list(self, http: Request) -> HttpResponse:
        """Those of whoever asks."""
        query = http.query_params
        wanted = kept.Wanted(query=query.get("query", ""), folder=query.get("folder"), tag=query.get("tag"))
        if any("\0" in each for each in query.values()):
            raise InvalidRequest("No text here can hold a NUL character.")
        found, more = await self._chats.list(*_who(http), wanted, **part_of(http))
        ids = (found[0].id, found[-1].id) if found else ("", "")
        data = [Chat.of(each) for each in found]
        return replies.json(ChatList(data=data, first_id=ids[0], last_id=ids[1], has_more=more))

    async def retrieve(self, http: Request) -> HttpResponse:
        """One of them."""
        return replies.json(Chat.of(await self._chats.get(*_named(http))))

    async def update(self, http: Request) -> HttpResponse:
        """Change what was sent of it."""
        body = await read_body(http, UpdateChatRequest, self._services.max_body_bytes)
        return replies.json(Chat.of(await self._chats.update(*_named(http), **body.chosen())))

    async def delete(self, http: Request) -> HttpResponse:
        """Forget it and all that was said in it."""
        project, owner, id = _named(http)  # noqa: A001
        await self._chats.remove(project, owner, id)
        return replies.json(ChatDeleted(id=id))

    async def turns(self, http: Request) -> HttpResponse:
        """What was said in it."""
        found, more = await self._chats.turns(*_named(http), **page_of(http, descending=False))
        data = [ChatTurn.of(each) for each in found]
        ids = (data[0].id, data[-1].id) if data else ("", "")
        return replies.json(ChatTurnList(data=data, first_id=ids[0], last_id=ids[1], has_more=more))

    async def ask(self, http: Request) -> HttpResponse:
        """Say something in it: a response in the background, of which the answer tells at once or event by event."""
        body = await read_body(http, CreateTurnRequest, self._services.max_body_bytes)
        ask, context = self._ask(http, body), context_of(http)
        response = response_of(body, ask, int(self._services.clock.now()))
        try:
            made = await self._chats.ask(context.person, http.path_params["chat_id"], ask, response)
        except InvalidRequest as error:
            raise placed(error) from error
        if not body.stream:
            return replies.json(made)
        steps = self._responses.follow(context.project, ask.id, context.person)
        options = body.stream_options
        obfuscates = options is None or options.include_obfuscation is not False
        return EventStream(self._services, context, steps, obfuscates=obfuscates)

    def _ask(self, http: Request, body: CreateTurnRequest) -> Ask:
        if body.conversation is not None or body.store is False or body.background is False:
            name = next(each for each in ("conversation", "store", "background") if getattr(body, each) is not None)
            raise InvalidRequest(f"'{name}' is not a chat's to choose: leave it out.", param=name)
        prefix = body.prefix if body.prefix and body.prefix.strip() else ""
        if prefix and body.text is not None and body.text.format is not None and body.text.format.type != "text":
            raise InvalidRequest("'prefix' begins a free text: leave 'text.format' out.", param="prefix")
        if prefix and any(tool.type == "mcp" for tool in body.tools or ()):
            raise InvalidRequest("'prefix' cannot stand before what an MCP server lists.", param="prefix")
        search = body.search if body.search and body.search.strip() else ""
        if search and not any(tool.type == "file_search" for tool in body.tools or ()):
            raise InvalidRequest("'search' is only allowed with the tool 'file_search'.", param="search")
        if search and prefix:
            raise InvalidRequest("Nothing is searched for behind a 'prefix': leave one of the two out.", param="search")
        context = context_of(http)
        found = deployment(http, context, self._services, body.model)
        background = body.model_copy(update={"background": True})
        deadline_s = self._services.request_timeout_s
        made = ask_of(background, context, found, id=f"resp_{context.request_id}", deadline_s=deadline_s)
        sampling = msgspec.structs.replace(made.sampling, seed=body.seed)
        arguments = msgspec.json.encode({"queries": [search]}).decode()
        opening = (("file_search", arguments),) if search else ()
        return msgspec.structs.replace(made, prefix=prefix, opening=opening, sampling=sampling)

    async def remove_turn(self, http: Request) -> HttpResponse:
        """Forget a turn and all that go on from it."""
        return replies.json(Chat.of(await self._chats.remove_turn(*_named(http), http.path_params["response_id"])))

    async def fork(self, http: Request) -> HttpResponse:
        """Begin another one with a copy of what led to a turn."""
        body = await read_body(http, ForkRequest, self._services.max_body_bytes)
        return replies.json(Chat.of(await self._chats.fork(*_named(http), body.at)))


def _who(http: Request) -> tuple[str, str]:
    context = context_of(http)
    return context.project, context.person


def _named(http: Request) -> tuple[str, str, str]:
    return *_who(http), http.path_params["chat_id"]


def chat_operations(services: Services, stateful: Stateful) -> list[Operation]:
    """The operations, for the table of the application."""
    routes, path = ChatRoutes(services, stateful), "/v1/x/chats"
    asks = partial(Operation, dialect="openai", needs="inference", extra_status=(400, 503))
    gets, posts = partial(asks, method="GET"), partial(asks, method="POST")
    deletes, one, turns = partial(asks, method="DELETE"), f"{path}/{{chat_id}}", f"{path}/{{chat_id}}/turns"
    page = ("page/after", "page/limit")
    return [
        posts(path=path, handler=routes.create, name="x_chats_create", summary="Begin a chat", body=CreateChatRequest,
              reply=Chat),
        gets(path=path, handler=routes.list, name="x_chats_list", summary="List one's chats", reply=ChatList,
             query=(*page, "chats/query", "chats/folder", "chats/tag")),
        gets(path=one, handler=routes.retrieve, name="x_chats_retrieve", summary="Describe a chat", reply=Chat),
        posts(path=one, handler=routes.update, name="x_chats_update", summary="Change a chat", body=UpdateChatRequest,
              reply=Chat),
        deletes(path=one, handler=routes.delete, name="x_chats_delete", summary="Delete a chat", reply=ChatDeleted),
        gets(path=turns, handler=routes.turns, name="x_chats_turns_list", summary="List what was said in a chat",
             reply=ChatTurnList, query=(*page, "page/order")),
        posts(path=turns, handler=routes.ask, name="x_chats_turns_create", summary="Say something in a chat",
              body=CreateTurnRequest, reply=Response, chunk=StreamEvent, says_done=False),
        deletes(path=f"{turns}/{{response_id}}", handler=routes.remove_turn, name="x_chats_turns_delete",
                summary="Delete a turn and what goes on from it", reply=Chat),
        posts(path=f"{one}/fork", handler=routes.fork, name="x_chats_fork",
              summary="Begin another chat with a copy of this one's beginning", body=ForkRequest, reply=Chat),
    ]  # fmt: skip
