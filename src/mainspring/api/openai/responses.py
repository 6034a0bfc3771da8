"""responses: parse, call `responses.service`, render."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.asks import Body, ask_of, include_of, response_of
from mainspring.api.openai.pages import flag_of, page_of
from mainspring.api.openai.replies_responses import InputTokens, ItemList, ResponseCompaction, ResponseDeleted
from mainspring.api.openai.request import deployment
from mainspring.api.openai.responses_answer import EventStream, Made, placed
from mainspring.api.openai.wire_responses import CompactResponseRequest, CountTokensRequest, CreateResponseRequest
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.responses.ask import Ask
from mainspring.responses.events import StreamEvent
from mainspring.responses.items import Response
from mainspring.responses.service import Responses
from mainspring.responses.shown import INCLUDABLE, shown_entry

__all__ = ["ResponseRoutes", "response_operations"]

MAX_SEQUENCE = 2**31 - 1


class ResponseRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, responses: Responses) -> None:
        self._services, self._responses = services, responses

    async def create(self, http: Request) -> HttpResponse:
        """Make a response, or have it made in the background."""
        body = await read_body(http, CreateResponseRequest, self._services.max_body_bytes)
        ask = self._ask(http, body, "resp_")
        context = context_of(http)
        response = response_of(body, ask, int(self._services.clock.now()))
        options = body.stream_options
        obfuscates = options is None or options.include_obfuscation is not False
        if ask.background:
            try:
                made = await self._responses.enqueue(ask, response)
            except InvalidRequest as error:
                raise placed(error) from error
            if not body.stream:
                return replies.json(made)
            steps = self._responses.follow(context.project, ask.id, ask.owner)
            return EventStream(self._services, context, steps, obfuscates=obfuscates)
        answer = EventStream(self._services, context, obfuscates=obfuscates) if body.stream else Made(
            self._services, context
        )  # fmt: skip
        return answer.over(self._responses.make(ask, response, self._services.generate, answer.watch))

    def _ask(self, http: Request, body: Body, prefix: str) -> Ask:
        context = context_of(http)
        found = deployment(http, context, self._services, body.model)
        return ask_of(
            body, context, found, id=f"{prefix}{context.request_id}", deadline_s=self._services.request_timeout_s
        )

    async def retrieve(self, http: Request) -> HttpResponse:
        """A response, or the events of its log."""
        context, id = context_of(http), http.path_params["response_id"]  # noqa: A001
        include = include_of(http, INCLUDABLE)
        kept, outputs = await self._responses.find(context.project, id, context.person)
        if flag_of(http, "stream"):
            if unknown := [each for each in include if each not in kept.include]:
                raise InvalidRequest(
                    f"The events of '{id}' were told without {unknown[0]!r}: 'include' it when a response is created.",
                    param="include",
                )
            steps = self._responses.follow(context.project, id, context.person, _starting_after(http))
            obfuscates = flag_of(http, "include_obfuscation") is not False
            return EventStream(self._services, context, steps, obfuscates=obfuscates)
        if "starting_after" in http.query_params:
            raise InvalidRequest("'starting_after' is of streams: send 'stream=true' too.", param="starting_after")
        wanted = {*include, *kept.include}
        body = {**kept.body, "output": [shown_entry(entry, wanted) for entry in outputs]}
        if context.dialect == "openai":
            body.pop("content_filters", None)
        return replies.json(body)

    async def delete(self, http: Request) -> HttpResponse:
        """Forget one."""
        context, id = context_of(http), http.path_params["response_id"]  # noqa: A001
        await self._responses.remove(context.project, id, context.person)
        return replies.json(ResponseDeleted(id=id))

    async def cancel(self, http: Request) -> HttpResponse:
        """End one in the background."""
        context = context_of(http)
        body = await self._responses.cancel(context.project, http.path_params["response_id"], context.person)
        if context.dialect == "openai":
            body.pop("content_filters", None)
        return replies.json(body)

    async def input_items(self, http: Request) -> HttpResponse:
        """What went into one."""
        context, include = context_of(http), include_of(http, INCLUDABLE)
        named = context.project, http.path_params["response_id"], context.person
        found, more = await self._responses.inputs(*named, **page_of(http))
        return replies.json(ItemList.of(found, include, has_more=more))

    async def input_tokens(self, http: Request) -> HttpResponse:
        """How long an input is."""
        body = await read_body(http, CountTokensRequest, self._services.max_body_bytes)
        try:
            num = await self._responses.count(self._ask(http, body, "count_"), self._services.generate)
        except InvalidRequest as error:
            raise placed(error) from error
        return replies.json(InputTokens(input_tokens=num))

    async def compact(self, http: Request) -> HttpResponse:
        """A conversation in few words."""
        body = await read_body(http, CompactResponseRequest, self._services.max_body_bytes)
        ask = self._ask(http, body, "resp_")
        item, usage = await self._responses.compact(ask, self._services.generate)
        created = int(self._services.clock.now())
        return replies.json(ResponseCompaction(id=ask.id, created_at=created, output=[item], usage=usage))


def _starting_after(http: Request) -> int:
    text = http.query_params.get("starting_after", "-1")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 11 and -1 <= int(text) <= MAX_SEQUENCE):
        raise InvalidRequest("Invalid 'starting_after': it is a sequence number.", param="starting_after")
    return int(text)


_PAGE = ("items/after", "items/limit", "items/order", "include")


def response_operations(services: Services, responses: Responses) -> list[Operation]:
    """Every operation in every dialect, for the table of the application."""
    prefixes: tuple[tuple[str, Dialect], ...] = (("/v1", "openai"), ("/openai/v1", "azure_v1"), ("/openai", "azure"))
    routes = ResponseRoutes(services, responses)
    return [each for prefix, dialect in prefixes for each in _operations(routes, f"{prefix}/responses", dialect)]


def _operations(routes: ResponseRoutes, path: str, dialect: Dialect) -> list[Operation]:
    asks = partial(Operation, dialect=dialect, needs="inference")
    gets, posts = partial(asks, method="GET"), partial(asks, method="POST")
    name, one = f"{dialect}_responses", f"{path}/{{response_id}}"
    streams: dict[str, Any] = {"chunk": StreamEvent, "says_done": False}
    return [
        posts(path=path, handler=routes.create, name=f"{name}_create", summary="Make a response",
              body=CreateResponseRequest, reply=Response, extra_status=(409,), **streams),
        posts(path=f"{path}/input_tokens", handler=routes.input_tokens, name=f"{name}_input_tokens",
              summary="Count the tokens of an input", body=CountTokensRequest, reply=InputTokens),
        posts(path=f"{path}/compact", handler=routes.compact, name=f"{name}_compact",
              summary="Sum up a conversation", body=CompactResponseRequest, reply=ResponseCompaction),
        gets(path=one, handler=routes.retrieve, name=f"{name}_retrieve", summary="Show a response, or its events",
             reply=Response, query=("include", "stream", "starting_after", "include_obfuscation"),
             extra_status=(400, 503), **streams),
        asks(method="DELETE", path=one, handler=routes.delete, name=f"{name}_delete", summary="Delete a response",
             reply=ResponseDeleted, extra_status=(503,)),
        posts(path=f"{one}/cancel", handler=routes.cancel, name=f"{name}_cancel",
              summary="Cancel a response in the background", reply=Response, extra_status=(400, 503)),
        gets(path=f"{one}/input_items", handler=routes.input_items, name=f"{name}_input_items",
             summary="List what went into a response", reply=ItemList, query=_PAGE, extra_status=(400, 503)),
    ]  # fmt: skip
