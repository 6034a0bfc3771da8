"""POST /infill: the gap in a file, as llama.cpp's server takes it and as its editors' plug-ins ask for it.

Source: llama.cpp, tools/server/README.md, "POST /infill". Options that only tune its own samplers or caches are taken
and have no effect here, as unknown ones have none there.
"""

import time
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import ConfigDict, Field
from starlette.requests import Request

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.openai import replies, request, wire_base
from mainspring.api.services import Services
from mainspring.api.sse import Answer
from mainspring.core.errors import ModelNotFound
from mainspring.core.types import (
    Finished,
    GenerateRequest,
    InfillPrompt,
    Said,
    Sampling,
    Screened,
    Token,
    Usage,
)

__all__ = ["Infill", "InfillAnswer", "InfillPiece", "InfillRequest", "Timings"]

MAX_CHARS = 4 * 2**20
MAX_TOKENS = 2**31 - 1


class Extra(wire_base.Wire):
    """Context from another file."""

    model_config = ConfigDict(extra="ignore")

    text: str = Field(max_length=MAX_CHARS)
    filename: str = Field("tmp", max_length=4096)


class InfillRequest(wire_base.Wire):
    """A gap and how to fill it."""

    model_config = ConfigDict(extra="ignore")

    input_prefix: str = Field(max_length=MAX_CHARS, description="What precedes the gap.")
    input_suffix: str = Field(max_length=MAX_CHARS, description="What follows the gap.")
    input_extra: list[Extra] | None = Field(None, max_length=1024, description="Context, the most important last.")
    prompt: str | None = Field(None, max_length=MAX_CHARS, description="What is in the gap already.")
    model: str | None = Field(None, max_length=256, description="The first that generates text if absent.")
    n_predict: int | None = Field(None, ge=-1, le=MAX_TOKENS, description="Most tokens; -1 fills the context.")
    response_fields: list[str] | None = Field(
        None, max_length=64, description="Only these fields of the answer; `timings/predicted_ms` is one."
    )
    seed: int | None = Field(None, ge=-1, le=2**63 - 1, description="-1 draws one.")
    stop: list[str] | None = Field(None, max_length=64)
    stop_at_dedent: bool | None = Field(None, description="Stop where the block of code ends; an extension.")
    stream: bool | None = None
    t_max_predict_ms: int | None = Field(None, ge=0, description="Stop at the end of a line after this long; 0 never.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)


class Timings(msgspec.Struct, frozen=True):
    """Where the time went, as seen from the edge: until the first token, and after it."""

    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class InfillAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What fills the gap; of a stream, the last event. Fields are missing if `response_fields` asked for others."""

    index: int = 0
    content: str | UnsetType = UNSET
    stop: bool = True
    model: str | UnsetType = UNSET
    tokens_predicted: int | UnsetType = UNSET
    tokens_evaluated: int | UnsetType = UNSET
    tokens_cached: int | UnsetType = UNSET
    has_new_line: bool | UnsetType = UNSET
    truncated: bool = False
    stop_type: str | UnsetType = UNSET
    stopping_word: str = ""
    timings: Timings | UnsetType = UNSET


class InfillPiece(msgspec.Struct, frozen=True):
    """An event of a stream: more of the text. The last event is an `InfillAnswer`."""

    content: str
    index: int = 0
    stop: bool = False


class Infill:
    """The handler."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, http: Request) -> Answer:
        """Parse, call, render."""
        context = context_of(http)
        body = await read_body(http, InfillRequest, self._services.max_body_bytes)
        found = request.deployment(http, context, self._services, body.model or self._first(context.project))
        generate = GenerateRequest(
            id=f"infill-{context.request_id}",
            model=found.id,
            prompt=InfillPrompt(
                body.input_prefix + (body.prompt or ""),
                body.input_suffix,
                tuple((extra.filename, extra.text) for extra in body.input_extra or ()),
                fit=True,
                dedent=bool(body.stop_at_dedent),
                max_s=body.t_max_predict_ms / 1000 if body.t_max_predict_ms else None,
            ),
            tenant=context.principal.id if context.principal else "",
            project=context.project,
            spillover=context.spillover,
            max_tokens=None if body.n_predict in (None, -1) else body.n_predict,
            stop=tuple(filter(None, body.stop or ())),
            sampling=_sampling(body),
            deadline_s=self._services.request_timeout_s,
        )
        writer = _Writer(found.id, body.response_fields, streams=bool(body.stream))
        return Answer(self._services, context, [generate], writer)

    def _first(self, project: str) -> str:
        for model in self._services.models.list(project):
            if model.kind in ("chat", "completion"):
                return model.id
        raise ModelNotFound("No model here generates text.", param="model")


def _sampling(body: InfillRequest) -> Sampling:
    greedy = body.top_p == 0
    return Sampling(
        temperature=0.0 if greedy else 0.8 if body.temperature is None else body.temperature,
        top_p=1.0 if greedy or body.top_p is None else body.top_p,
        seed=None if body.seed == -1 else body.seed,
    )


class _Writer:
    """Both forms of the answer."""

    def __init__(self, model: str, fields: list[str] | None, *, streams: bool) -> None:
        self.streams = streams
        self.tally = replies.Tally()
        self._model = model
        self._fields = fields
        self._texts: list[str] = []
        self._usage = Usage(0, 0)
        self._reason = "stop"
        self._started = time.perf_counter()
        self._first: float | None = None

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def feed(self, prompt: int, event: Said | Screened) -> bytes:
        """A piece of text, if it is streamed."""
        self._first = self._first or time.perf_counter()
        if isinstance(event, Finished):
            self._usage, self._reason = event.usage, event.reason
            self.tally.add(prompt, event.usage)
        elif isinstance(event, Token):
            self._texts.append(event.text)
            if self.streams and event.text:
                return replies.event(InfillPiece(event.text))
        return b""

    def end(self) -> bytes:
        """The whole, or the last event, which has no text of its own."""
        self.tally.check(1)
        text, usage = "".join(self._texts), self._usage
        answer = InfillAnswer(
            content="" if self.streams else text,
            model=self._model,
            tokens_predicted=usage.completion,
            tokens_evaluated=usage.prompt,
            tokens_cached=usage.cached,
            has_new_line="\n" in text,
            stop_type="limit" if self._reason == "length" else "eos",
            timings=self._timings(),
        )
        body = _chosen(answer, self._fields) if self._fields else answer
        return replies.event(body) if self.streams else replies.encode(body)

    def _timings(self) -> Timings:
        now = time.perf_counter()
        first = self._first or now
        num_prompt = max(self._usage.prompt - self._usage.cached, 0)
        return Timings(
            *_rates(num_prompt, (first - self._started) * 1000), *_rates(self._usage.completion, (now - first) * 1000)
        )


def _rates(count: int, ms: float) -> tuple[int, float, float, float]:
    return count, ms, ms / count if count else 0.0, count / ms * 1000 if ms else 0.0


def _chosen(answer: InfillAnswer, fields: list[str]) -> dict[str, Any]:
    """Only some fields; the path to a nested one is its name, and what does not exist is left out."""
    chosen: dict[str, Any] = {}
    for field in fields:
        here: Any = msgspec.to_builtins(answer)
        for part in field.split("/"):
            here = cast("dict[str, Any]", here).get(part) if isinstance(here, dict) else None
        if here is not None:
            chosen[field] = here
    return chosen
