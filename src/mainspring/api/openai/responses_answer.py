"""A response on its way to its client: all at once, or event by event, now or from the log."""

from collections.abc import AsyncGenerator

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mainspring.api.context import Context, Work
from mainspring.api.edge import ClientGone
from mainspring.api.errors import error_body
from mainspring.api.openai.padding import filling
from mainspring.api.services import Services
from mainspring.api.sse import GRACE_S, Run
from mainspring.core import log
from mainspring.core.errors import InvalidRequest, MainspringError
from mainspring.core.types import Event, Finished, Screened, Spilled
from mainspring.responses.events import ErrorEvent, Told

__all__ = ["EventStream", "Made", "without_findings"]

_log = log.get("mainspring.api")
_encode = msgspec.json.Encoder().encode

NO_LIMIT_S = 24 * 3600.0
"""Of a stream that reads a log: it takes as long as the response does."""

Steps = AsyncGenerator[list[Told]]
_PLACES = (
    ("response_format.json_schema.schema", "text.format.schema"), ("response_format", "text.format"),
    (".function.parameters", ".parameters"), (".custom.format", ".format"), ("messages", "input"),
)  # fmt: skip
"""Where chat has what the engine names, and where a response does."""


class _WithResponse(msgspec.Struct):
    response: msgspec.Raw


class _Watching(Response):
    """What both ways have in common: what the request came to, for metrics and headers."""

    def __init__(self, services: Services, context: Context, steps: Steps | None, *, streams: bool) -> None:
        self._services, self._context, self._steps = services, context, steps
        self._work = Work(streams=streams)
        self.background = None

    def over(self, steps: Steps) -> "_Watching":
        """The events that it is written from."""
        self._steps = steps
        return self

    def watch(self, event: Event) -> None:
        """An event of the engine's."""
        if isinstance(event, Screened):
            self._work.note(event)
        elif isinstance(event, Finished):
            self._work.prompt += event.usage.prompt
            self._work.cached += event.usage.cached
            self._work.completion += event.usage.completion
        elif isinstance(event, Spilled):
            self._context.spilled = event
            self._context.deployment = self._services.models.find(event.to, self._context.project)

    def _run(self, receive: Receive, limit_s: float) -> Run[Steps, list[Told]]:
        assert self._steps is not None, "over() was called"
        return Run(_same, [self._steps], receive, limit_s)


def _same(steps: Steps) -> Steps:
    return steps


class Made(_Watching):
    """The whole response, once it is made."""

    def __init__(self, services: Services, context: Context) -> None:
        super().__init__(services, context, None, streams=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Wait for it, then send it."""
        context, work = self._context, self._work
        context.work = work
        try:
            async with self._run(receive, self._services.request_timeout_s + GRACE_S) as run:
                await run.take()
                work.first_s = context.elapsed_s
                *_, (_, last) = await run.rest()
        except InvalidRequest as error:
            raise placed(error) from error
        finally:
            work.last_s = context.elapsed_s
        body = bytes(msgspec.json.decode(last[-1].body, type=_WithResponse).response)
        if context.dialect == "openai":
            body = without_findings(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class EventStream(_Watching):
    """Its events, as they come. Another form of stream overrides `head`, `written`, `closing` and `failed`.

    Args:
        steps: those of a log; the events of a response that is being made are given to `over`.
    """

    head: tuple[tuple[bytes, bytes], ...] = (
        (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"),
    )  # fmt: skip

    def __init__(
        self, services: Services, context: Context, steps: Steps | None = None, *, obfuscates: bool = True
    ) -> None:  # fmt: skip
        super().__init__(services, context, steps, streams=True)
        self._obfuscates, self._is_log = obfuscates, steps is not None
        self._seq = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Wait for the first events, so that an early failure keeps its status; then send what comes."""
        context, work = self._context, self._work
        context.work = None if self._is_log else work
        limit_s = NO_LIMIT_S if self._is_log else self._services.request_timeout_s + GRACE_S
        async with self._run(receive, limit_s) as run:
            try:
                ready = await run.take()
            except InvalidRequest as error:
                raise placed(error) from error
            work.first_s = context.elapsed_s
            try:
                await self._stream(run, [told for _, told in ready], send)
            finally:
                work.last_s = context.elapsed_s

    async def _stream(self, run: Run[Steps, list[Told]], ready: list[list[Told]], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [*self.head]})
        try:
            while ready:
                body = b"".join(self._sent(each) for told in ready for each in told)
                await send({"type": "http.response.body", "body": body, "more_body": True})
                ready = [told for _, told in await run.take()]
            last = self.closing()
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - the status is sent: all that is left is an event that says so
            last = self._failed(error)
        await send({"type": "http.response.body", "body": last})

    def _sent(self, told: Told) -> bytes:
        self._seq = told.seq
        return self.written(told)

    def written(self, told: Told) -> bytes:
        """An event in the stream's form. Findings of the content filters are Azure's alone."""
        body = told.body
        if self._context.dialect == "openai" and b'"content_filters":' in body:
            body = without_findings(body)
        if self._obfuscates and told.type.endswith(".delta"):
            body = b'%s,"obfuscation":"%s"}' % (body[:-1], filling(len(body)).encode())
        return b"event: %s\ndata: %s\n\n" % (told.type.encode(), body)

    def closing(self) -> bytes:
        """What stands behind the last event."""
        return b""

    def _failed(self, error: Exception) -> bytes:
        request_id, self._context.error = self._context.request_id, error
        if isinstance(error, MainspringError):
            _log.warning("failed mid-stream", request_id=request_id, error=type(error).__name__, message=error.message)
            shown = error
        else:
            _log.error("unhandled mid-stream", request_id=request_id, exc_info=error)
            shown = MainspringError("The server failed. The log has the details under this request's id.")
        detail = msgspec.json.decode(error_body(shown, self._context.dialect))["error"]
        return self.failed(detail["code"], detail["message"], detail["param"])

    def failed(self, code: str | None, message: str, param: str | None) -> bytes:
        """What says that the stream has failed."""
        event = ErrorEvent(sequence_number=self._seq + 1, code=code, message=message, param=param)
        return b"event: error\ndata: %s\n\n" % _encode(event)


def without_findings(body: bytes) -> bytes:
    """A response, or an event that has one, without what the content filters found."""
    found = msgspec.json.decode(body)
    found.get("response", found).pop("content_filters", None)
    return _encode(found)


def placed(error: InvalidRequest) -> InvalidRequest:
    """The engine names places by chat's words."""
    for chat, ours in _PLACES:
        if error.param is not None and chat in error.param:
            error.param, error.message = error.param.replace(chat, ours), error.message.replace(chat, ours)
            break
    return error
