"""Chats for clients of the AI SDK (`useChat` and what is built on it): its UI message stream over our responses.

    POST /v1/x/ui/chat                 what `DefaultChatTransport` sends; the answer is a stream of parts
    GET  /v1/x/ui/chat/{id}            the messages, for a client that begins with them
    GET  /v1/x/ui/chat/{id}/stream     the answer that is being made, from its beginning; 204 if none is
    POST /v1/x/ui/chat/{id}/stop       end it: closing a connection does not

The client's chat id is its own; here it stands for a chat of `api/chats.py`, which the pages show, too. An answer's
message id is its response's, so what a message goes on from is found by the last answer before it. Answers that are
none of ours are sent along as history. The stream is described at ai-sdk.dev under "Stream Protocols".
"""

import hashlib
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai.asks import ask_of, response_of
from mainspring.api.openai.request import deployment
from mainspring.api.openai.responses_answer import EventStream, placed
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openai.wire_responses import CreateResponseRequest
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, Stateful
from mainspring.api.ui_parts import UiParts, message_of
from mainspring.core.errors import InvalidRequest, ModelNotFound
from mainspring.responses.chats import Turn
from mainspring.responses.events import Told
from mainspring.responses.service import OPEN
from mainspring.store.chats import Chat

__all__ = ["ui_operations"]

Json = dict[str, Any]
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"), (b"x-vercel-ai-ui-message-stream", b"v1"),
)  # fmt: skip
MAX_MESSAGES = 20_000

Id = Annotated[str, Field(min_length=1, max_length=256)]


class UiMessage(Wire):
    """A message of the client's. Its parts are the AI SDK's; of an answer only text is read."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(max_length=256)
    role: Literal["system", "user", "assistant"]
    parts: list[dict[str, Any]] = Field(max_length=10_000)
    metadata: Any = None

    def text(self, at: int) -> str:
        """What it says.

        Raises:
            InvalidRequest: its author sent something else.
        """
        for number, part in enumerate(self.parts):
            if self.role == "user" and part.get("type") != "text":
                raise InvalidRequest(
                    f"Messages of the user have parts of type 'text' here, not {str(part.get('type'))[:40]!r}.",
                    param=f"messages[{at}].parts[{number}].type",
                )
        return "".join(str(part.get("text", "")) for part in self.parts if part.get("type") == "text")


class UiChatRequest(Wire):
    """What the AI SDK's transport sends; the rest comes from the `body` that its user gives it, and what nobody here
    knows is not looked at: libraries over the AI SDK add fields of their own."""

    model_config = ConfigDict(extra="ignore")

    id: Id = Field(description="The client's own.")
    messages: list[UiMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    messageId: str | None = None  # noqa: N815 - the transport's name
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(None, description="None is any.")
    instructions: str | None = None
    system: str | None = Field(None, description="The same, as assistant-ui calls it.")
    tools: dict[str, Any] | None = Field(None, max_length=0, description="Of the page's own: not supported yet.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_output_tokens: int | None = Field(None, ge=16)


class UiMessages(msgspec.Struct, frozen=True, kw_only=True):
    """The messages of the branch that was looked at last."""

    messages: list[dict[str, Any]]


class UiStopped(msgspec.Struct, frozen=True):
    """Whether something was stopped."""

    stopped: bool


class UiStream(EventStream):
    """The log of a response, as the AI SDK reads it."""

    head = HEADERS

    def __init__(self, services: Services, context: Any, steps: Any) -> None:
        super().__init__(services, context, steps)
        self._parts = UiParts()

    def written(self, told: Told) -> bytes:
        """See `EventStream`."""
        return _lines(self._parts.of(msgspec.json.decode(told.body)))

    def closing(self) -> bytes:
        """See `EventStream`."""
        return _lines(self._parts.rest()) + b"data: [DONE]\n\n"

    def failed(self, code: str | None, message: str, param: str | None) -> bytes:  # noqa: ARG002 - the AI SDK has a text
        """See `EventStream`."""
        return _lines([{"type": "error", "errorText": message}]) + b"data: [DONE]\n\n"


def _lines(parts: list[Json]) -> bytes:
    return b"".join(b"data: %s\n\n" % msgspec.json.encode(part) for part in parts)


class UiRoutes:
    """The handlers."""

    def __init__(self, services: Services, stateful: Stateful) -> None:
        self._services, self._chats, self._responses = services, stateful.chats, stateful.responses

    async def create(self, http: Request) -> HttpResponse:
        """Say something, and stream the answer."""
        body = await read_body(http, UiChatRequest, self._services.max_body_bytes)
        context = context_of(http)
        named = context.project, context.person, _chat_id(http, body.id)
        chat = await (self._chats.get(*named) if named[2] == body.id else self._chats.ensure(*named))
        said = await self._said(chat, body)
        given = {name: getattr(body, name) for name in ("temperature", "top_p", "max_output_tokens")}
        given["instructions"] = body.instructions or body.system or None
        request = CreateResponseRequest.model_validate(
            {"model": body.model or self._any_model(context.project), "background": True, "truncation": "auto"} | said
            | {name: value for name, value in given.items() if value is not None}
        )  # fmt: skip
        found, id = deployment(http, context, self._services, request.model), f"resp_{context.request_id}"  # noqa: A001
        ask = ask_of(request, context, found, id=id, deadline_s=self._services.request_timeout_s)
        try:
            await self._chats.ask(
                context.person, chat.id, ask, response_of(request, ask, int(self._services.clock.now()))
            )
        except InvalidRequest as error:
            raise placed(error) from error
        return UiStream(self._services, context, self._responses.follow(context.project, id, context.person))

    async def _said(self, chat: Chat, body: UiChatRequest) -> Json:
        """What is new, and what it goes on from; or all of it, if that is none of ours."""
        messages = list(body.messages)
        if messages[-1].role != "user":
            raise InvalidRequest("The last message must be the user's.", param="messages")
        last = next((at for at in reversed(range(len(messages))) if messages[at].role == "assistant"), None)
        known = last is not None and await self._chats.has_turn(chat, messages[last].id)
        start = last + 1 if last is not None and known else 0
        kinds = {"assistant": "output_text", "user": "input_text", "system": "input_text"}
        items = [
            {"type": "message", "role": each.role, "content": [{"type": kinds[each.role], "text": each.text(at)}]}
            for at, each in enumerate(messages)
            if at >= start
        ]
        return {"input": items, "previous_response_id": messages[last].id if last is not None and known else None}

    def _any_model(self, project: str) -> str:
        found = next((each.id for each in self._services.models.list(project) if each.kind == "chat"), None)
        if found is None:
            raise ModelNotFound("No model that chats is deployed in the project.")
        return found

    async def retrieve(self, http: Request) -> HttpResponse:
        """The messages."""
        path = await self._path(http)
        return replies.json(UiMessages(messages=[each for turn in path for each in message_of(turn)]))

    async def _path(self, http: Request) -> list[Turn]:
        context = context_of(http)
        return await self._chats.path(context.project, context.person, _chat_id(http, http.path_params["chat_id"]))

    async def stream(self, http: Request) -> HttpResponse:
        """The answer that is being made."""
        context, path = context_of(http), await self._path(http)
        if not path or path[-1].response.status not in OPEN:
            return HttpResponse(status_code=204)
        id = path[-1].response.id  # noqa: A001
        return UiStream(self._services, context, self._responses.follow(context.project, id, context.person))

    async def stop(self, http: Request) -> HttpResponse:
        """End it."""
        context, path = context_of(http), await self._path(http)
        if not path or path[-1].response.status not in OPEN:
            return replies.json(UiStopped(stopped=False))
        await self._responses.cancel(context.project, path[-1].response.id, context.person)
        return replies.json(UiStopped(stopped=True))


def _chat_id(http: Request, given: str) -> str:
    """A chat of ours is called by its own id, too; other ids are their client's, and anybody's may be the same."""
    if given.startswith("chat_"):
        return given
    context = context_of(http)
    digest = hashlib.sha256("\0".join((context.project, context.person, given)).encode(errors="surrogatepass"))
    return f"chat_{digest.hexdigest()[:32]}"


def ui_operations(services: Services, stateful: Stateful) -> list[Operation]:
    """The operations, for the table of the application."""
    routes, path = UiRoutes(services, stateful), "/v1/x/ui/chat"
    asks = partial(Operation, dialect="openai", needs="inference", extra_status=(400, 503))
    one = f"{path}/{{chat_id}}"
    streams: Json = {"reply": "text/event-stream"}
    return [
        asks(method="POST", path=path, handler=routes.create, name="x_ui_chat_create",
             summary="Answer a client of the AI SDK", body=UiChatRequest, **streams),
        asks(method="GET", path=one, handler=routes.retrieve, name="x_ui_chat_retrieve",
             summary="List a chat's messages for the AI SDK", reply=UiMessages),
        asks(method="GET", path=f"{one}/stream", handler=routes.stream, name="x_ui_chat_stream",
             summary="Follow the answer that is being made", success=(200, 204), **streams),
        asks(method="POST", path=f"{one}/stop", handler=routes.stop, name="x_ui_chat_stop",
             summary="End the answer that is being made", reply=UiStopped),
    ]  # fmt: skip
