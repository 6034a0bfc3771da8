"""OpenTelemetry traces: one span for a request at the edge, and in it one for each call of a model.

The second follows the conventions for generative AI (gen_ai.*, as of semantic conventions 1.38). What was asked and
answered is in it only if the settings say so. Nothing of this is imported, and nothing of it runs, unless the settings
name a collector; spans are sent to it in batches by a thread of their own, and dropped if it does not take them.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mainspring import __version__
from mainspring.api.context import Context, header
from mainspring.core.config import TracingSettings
from mainspring.core.errors import MainspringError, UserMistake
from mainspring.core.seams import Embed, Generate
from mainspring.core.types import (
    ChatPrompt,
    Embeddings,
    EmbedRequest,
    Event,
    Finished,
    GenerateRequest,
    InfillPrompt,
    TextPrompt,
    Token,
    ToolCallDelta,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["Tracing"]

Attributes = dict[str, Any]

EXPORT_TIMEOUT_S = 5.0
PROVIDER = "mainspring"


class Tracing:
    """Makes spans and sends them to a collector.

    Raises:
        UserMistake: the library is not installed.
    """

    def __init__(self, settings: TracingSettings) -> None:
        if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
            raise UserMistake("Setting 'tracing.endpoint' needs the extra otel: pip install 'mainspring[otel]'.")
        # A third of a second of imports that a server without a collector does not spend.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        exporter = OTLPSpanExporter(
            endpoint=f"{settings.endpoint.rstrip('/')}/v1/traces", headers=settings.headers, timeout=EXPORT_TIMEOUT_S
        )
        resource = Resource.create({"service.name": "mainspring", "service.version": __version__})
        self._provider = TracerProvider(
            resource=resource, sampler=ParentBasedTraceIdRatio(settings.sample), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mainspring", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._with_content = settings.content

    def close(self) -> None:
        """Send what is left. Waits for the collector, so not to be called by the event loop."""
        self._provider.shutdown()

    @contextmanager
    def request(self, context: Context) -> Generator[None]:
        """The span of a request; a child of the client's, if it names one in traceparent."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, use_span

        given = context.scope["headers"]
        carrier = {
            name: value.decode("latin-1")
            for name in ("traceparent", "tracestate")
            if (value := header(given, name.encode())) is not None
        }
        attributes: Attributes = {
            "http.request.method": context.method,
            "url.scheme": context.scope.get("scheme", "http"),
            "url.path": context.path,
            "mainspring.request.id": context.request_id,
        }
        parent = self._propagator.extract(carrier)
        span = self._tracer.start_span(context.method, parent, kind=SpanKind.SERVER, attributes=attributes)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        finally:
            span.update_name(f"{context.method} {context.route}")
            span.set_attribute("http.route", context.route)
            span.set_attribute("http.response.status_code", context.status)
            if context.status >= 500:  # a refusal is the client's mistake, not a fault of this span
                span.set_status(Status(StatusCode.ERROR))
            if context.error is not None:
                span.set_attribute("error.type", _kind(context.error))
            span.end()

    def generate(self, inner: Generate) -> Generate:
        """`inner`, with a span for each request."""

        async def run(request: GenerateRequest) -> AsyncGenerator[Event]:
            call = _Call(request, with_content=self._with_content)
            with self._call(call.operation, request.model, call.asked()) as span:
                try:
                    async with aclosing(inner(request)) as events:
                        async for event in events:
                            call.note(event)
                            yield event
                finally:
                    span.set_attributes(call.came_to())

        return run

    def embed(self, inner: Embed) -> Embed:
        """`inner`, with a span for each request."""

        async def run(request: EmbedRequest) -> Embeddings:
            asked: Attributes = {"gen_ai.response.id": request.id}
            if request.dimensions is not None:
                asked["gen_ai.embeddings.dimension.count"] = request.dimensions
            with self._call("embeddings", request.model, asked) as span:
                result = await inner(request)
                span.set_attribute("gen_ai.usage.input_tokens", result.num_tokens)
                return result

        return run

    @contextmanager
    def _call(self, operation: str, model: str, asked: Mapping[str, Any]) -> "Generator[Span]":
        from opentelemetry.trace import SpanKind, Status, StatusCode

        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            **asked,
        }
        span = self._tracer.start_span(f"{operation} {model}", kind=SpanKind.CLIENT, attributes=attributes)
        try:
            yield span
        except (GeneratorExit, asyncio.CancelledError):  # the client has left
            span.set_attribute("error.type", "cancelled")
            raise
        except BaseException as error:
            span.set_attribute("error.type", _kind(error))
            span.set_status(Status(StatusCode.ERROR, error.message if isinstance(error, MainspringError) else None))
            raise
        finally:
            span.end()


def _kind(error: BaseException) -> str:
    """What an error is called: its code, which is one of few."""
    return error.code if isinstance(error, MainspringError) else type(error).__name__


class _Call:
    """A request to a model, and what it has come to so far."""

    def __init__(self, request: GenerateRequest, *, with_content: bool) -> None:
        self._request = request
        self._began_s = time.perf_counter()
        self._first_s: float | None = None
        self._finished: dict[int, Finished] = {}
        self._texts: dict[int, list[str]] | None = {} if with_content else None
        self.operation = "chat" if isinstance(request.prompt, ChatPrompt) else "text_completion"

    def asked(self) -> Attributes:
        """The attributes of the request; those that say nothing are left out."""
        request, sampling = self._request, self._request.sampling
        found: Attributes = {
            "gen_ai.response.id": request.id,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.seed": sampling.seed,
            "gen_ai.request.frequency_penalty": sampling.frequency_penalty or None,
            "gen_ai.request.presence_penalty": sampling.presence_penalty or None,
            "gen_ai.request.stop_sequences": request.stop or None,
            "gen_ai.request.choice.count": request.n if request.n > 1 else None,
            "gen_ai.output.type": "text" if request.constraint is None else "json",
            "openai.request.service_tier": request.tier,
        }
        if request.constraint is not None and not request.constraint.kind.startswith("json"):
            found["gen_ai.output.type"] = "text"
        if self._texts is not None:
            found["gen_ai.input.messages"] = json.dumps(_messages(request))
        return {name: value for name, value in found.items() if value is not None}

    def note(self, event: Event) -> None:
        """Something was said."""
        if self._first_s is None and isinstance(event, Token | ToolCallDelta):
            self._first_s = time.perf_counter() - self._began_s
        if isinstance(event, Finished):
            self._finished[event.choice] = event
        elif isinstance(event, Token) and self._texts is not None and not event.echo:
            self._texts.setdefault(event.choice, []).append(event.text)

    def came_to(self) -> Attributes:
        """The attributes of the answer."""
        found: Attributes = {}
        if self._first_s is not None:
            found["gen_ai.response.time_to_first_chunk"] = self._first_s
        if self._finished:
            ends = [self._finished[choice] for choice in sorted(self._finished)]
            found["gen_ai.response.finish_reasons"] = [end.reason for end in ends]
            found["gen_ai.usage.input_tokens"] = ends[0].usage.prompt
            found["gen_ai.usage.output_tokens"] = sum(end.usage.completion for end in ends)
            found["gen_ai.usage.cache_read.input_tokens"] = min(end.usage.cached for end in ends)
            found["gen_ai.usage.reasoning.output_tokens"] = sum(end.usage.reasoning for end in ends)
        if self._texts:
            found["gen_ai.output.messages"] = json.dumps(
                [_message("assistant", "".join(texts)) for _, texts in sorted(self._texts.items())]
            )
        return found


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _messages(request: GenerateRequest) -> list[dict[str, Any]]:
    """The prompt as the conventions write messages."""
    match request.prompt:
        case ChatPrompt(messages):
            return [_message(message.role, message.content) for message in messages]
        case TextPrompt(text):
            return [_message("user", text)]
        case InfillPrompt(prefix, suffix):
            return [_message("user", prefix), _message("user", suffix)]
        case _:  # tokens, which only the model can read
            return []
