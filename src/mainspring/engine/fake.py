"""The shipped fake of the seam: a `Generate` and `Models` that need no model, for tests of everything above the engine.

Text is deterministic: the same prompt, seed and choice give the same words. The vocabulary is 256 single bytes (ids 0
to 255) and some words, a few of which do not fit in ASCII. Prompts may hold a spell, which decides how a request ends:

    !raise NAME            the error of that name from `core.errors`, before the first event
    !raise NAME after N    the same, after N tokens
    !crash [after N]       an exception that is not ours
    !hang [after N]        never goes on, until it is cancelled
    !call                  calls the tools that may be called: all of them, or the first if calls may not be parallel
    !call NAME {JSON}      calls one tool with these arguments
    !think                 thinks before it answers
    !cite                  cites, as models do: sources that there are and others, in several forms

A chat that requires a call gets the same calls without a spell, and one that ends with a result gets an answer. One
that continues an answer gets what that would have gone on with.
"""

import asyncio
import hashlib
import json
import random
import re
import struct
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, cast

import msgspec

from mainspring.core import errors
from mainspring.core.receipt import Computed
from mainspring.core.types import (
    ChatPrompt,
    Constraint,
    Embeddings,
    EmbedRequest,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    InfillPrompt,
    Load,
    ModelInfo,
    TextPrompt,
    Token,
    TokenLogprob,
    TokenPrompt,
    Tool,
    ToolCallDelta,
    Usage,
)
from mainspring.engine.fake_shown import shown
from mainspring.engine.positions import packed

__all__ = ["FakeEmbedder", "FakeEngine"]

WORDS = """
the of and to in is that it was for on are with as at be this from have or by one had not but what all were
when we there can an your which their said if do will each about how up out them then she many some so these
would other into has more her two like him see time could no make than first been its who now people my made
over did down only way find use may water long little very after words called just where most know café naïve
Zürich 你好 🙂
""".split()  # noqa: SIM905 - words are easier to read as a text
VOCABULARY: tuple[bytes, ...] = (*(bytes([i]) for i in range(256)), *(f" {word}".encode() for word in WORDS))
MARKERS = ("", "", "", ".", " [1]", "[1].", " [doc2]", " [1, 2].", "[7]", " [doc9].", " [Source 1]", "[3][1]", "[", "]")
NATURAL_TOKENS = 24  # after so many a choice ends by itself
KV_TOKENS = 65536

_IDS = {piece: i for i, piece in enumerate(VOCABULARY)}
_SPLIT = re.compile(rb" ?[^ ]+| ")
_CALL = re.compile(r"!call ([\w-]+) (\{.*\})")
_SPELL = re.compile(r"!(raise|crash|hang)(?: ([A-Z]\w+))?(?: after (\d+))?")


def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text: whole words where the vocabulary has them, bytes elsewhere."""
    ids: list[int] = []
    for piece in _SPLIT.findall(text.encode()):
        ids.extend([_IDS[piece]] if piece in _IDS else piece)
    return tuple(ids)


class FakeEngine:
    """Both seams of a backend. Owned by one event loop; `wait_idle` may be called from any thread.

    Args:
        remembers: keep every request in `requests`, for tests that look at them; a benchmark would drown in them.
    """

    def __init__(
        self,
        names: Sequence[str] = ("fake",),
        *,
        context_length: int = 4096,
        places: int = 64,
        created: int = 1_700_000_000,
        others: Sequence[ModelInfo] = (),
        remembers: bool = True,
    ) -> None:
        self._models = {
            name: ModelInfo(
                id=name, version=_digest(name)[:12], created=created, context_length=context_length, state="ready"
            )
            for name in sorted(names)
        }
        self._models |= {model.id: model for model in others}
        self._places = places
        self._running: dict[str, int] = dict.fromkeys(self._models, 0)
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self._remembers = remembers
        self.requests: list[GenerateRequest] = []

    def list(self, project: str = "") -> Sequence[ModelInfo]:  # noqa: ARG002 - all projects have the same
        """Every deployment, by name."""
        return tuple(self._models.values())

    def find(self, name: str, project: str = "") -> ModelInfo:  # noqa: ARG002
        """The deployment called `name`; raises `ModelNotFound`."""
        if name not in self._models:
            raise errors.ModelNotFound(f"The model '{name[:64]}' does not exist.", param="model")
        return self._models[name]

    def owner(self, name: str) -> str | None:
        """Whose it is."""
        return self._models[name].project if name in self._models else None

    def load(self, name: str, project: str = "") -> Load:  # noqa: ARG002
        """How busy it is."""
        running = self._running.get(name, 0)
        return Load(running=running, kv_used=running, kv_total=KV_TOKENS)

    def places(self, name: str, project: str = "") -> int:  # noqa: ARG002
        """How many requests it holds."""
        self.find(name)
        return self._places

    def wait_idle(self, timeout_s: float) -> bool:
        """Whether nothing was running any more within `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(self._running.values()), timeout_s)

    def wait_busy(self, timeout_s: float) -> bool:
        """Whether something was running within `timeout_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: any(self._running.values()), timeout_s)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """The `Generate` of the fake."""
        info = self.find(request.model)
        if self._remembers:
            self.requests.append(request)
        if self._running[info.id] >= self._places:
            raise errors.Overloaded("Every place in the queue is taken.", retry_after_s=0.05)
        self._count(info.id, 1)
        try:
            text = _text_of(request)
            prompt = _prompt_ids(request, text)
            _check_fits(len(prompt), request.max_tokens, info.context_length)
            num = 0
            for event in self._events(request, text, prompt, info):
                await self._cast(text, num)
                num += isinstance(event, Token)
                yield event
                await asyncio.sleep(0)
        finally:
            self._count(info.id, -1)

    def _count(self, name: str, by: int) -> None:
        with self._changed:
            self._running[name] += by
            self._changed.notify_all()

    async def _cast(self, text: str, num: int) -> None:
        spell = _SPELL.search(text)
        if spell is None or int(spell[3] or 0) != num:
            return
        if spell[1] == "hang":
            await asyncio.Event().wait()
        if spell[1] == "crash":
            raise RuntimeError("a secret of the fake at /some/path")
        raise errors.from_wire(spell[2] or "", f"The spell said {spell[2]}.", "", None, retry_after_s=1.5)

    def _events(self, request: GenerateRequest, text: str, prompt: tuple[int, ...], info: ModelInfo) -> Iterator[Event]:
        most = max(len(prompt) - 1, 0)  # the last token is always computed
        cached = most if text in self._seen else 0
        self._seen.add(text)
        choices = [_Choice(request, prompt, index, info.context_length) for index in range(request.n)]
        told = len(encode(_broken_text(request)))
        if request.explains:
            yield shown(request, prompt, VOCABULARY, cached=cached, context_length=info.context_length, model=info)
        streams = [choice.events(len(prompt) + told, cached if index == 0 else most)
                   for index, choice in enumerate(choices)]  # fmt: skip
        while streams:  # one token of each choice in turn, as a batch would
            for stream in tuple(streams):
                event = next(stream, None)
                if event is None:
                    streams.remove(stream)
                else:
                    yield event


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text_of(request: GenerateRequest) -> str:
    prompt = request.prompt
    if isinstance(prompt, ChatPrompt):
        asked = prompt.messages[:-1] if prompt.continues else prompt.messages
        return "".join(f"<{message.role}>{message.content}\n" for message in asked)
    if isinstance(prompt, TextPrompt):
        return prompt.text
    if isinstance(prompt, InfillPrompt):
        return f"{prompt.prefix}\n{prompt.suffix}"
    if any(token >= len(VOCABULARY) for token in prompt.ids):
        raise errors.InvalidRequest(f"Token ids must be below {len(VOCABULARY)}.", param="prompt")
    return b"".join(VOCABULARY[token] for token in prompt.ids).decode("utf-8", "replace")


def _prompt_ids(request: GenerateRequest, text: str) -> tuple[int, ...]:
    return request.prompt.ids if isinstance(request.prompt, TokenPrompt) else encode(text)


def _check_fits(num_prompt: int, max_tokens: int | None, context_length: int) -> None:
    if num_prompt + (max_tokens or 0) > context_length:
        raise errors.ContextLengthExceeded(
            f"This model's maximum context length is {context_length} tokens. However, you requested "
            f"{num_prompt + (max_tokens or 0)} tokens ({num_prompt} of the prompt, {max_tokens or 0} to generate).",
            param="messages",
        )


class _Choice:
    """One continuation, decided in advance and then told token by token."""

    def __init__(self, request: GenerateRequest, prompt: tuple[int, ...], index: int, context_length: int) -> None:
        self._index = index
        self._num_top = request.sampling.logprobs
        self._echo = prompt if request.echo else ()
        sampling = request.sampling
        varied = f"{sampling.seed or None} {index}" if sampling.temperature > 0 else ""
        self._random = random.Random(_digest(f"{prompt} {varied}"))  # noqa: S311
        limit = min(
            request.max_tokens if request.max_tokens is not None else context_length, context_length - len(prompt)
        )
        if request.constraint is None:
            allowed = _allowed(sampling.logit_bias)
            most = NATURAL_TOKENS if _is_broken(request) else min(NATURAL_TOKENS, limit + 1)
            wanted = [self._random.choice(allowed) for _ in range(most)]
            wanted = self._cited(wanted) if "!cite" in _text_of(request) else wanted
        else:
            wanted = list(encode(_example(request.constraint)))
        self._reason: FinishReason
        self._ids, self._reason = _cut(wanted[_begun(request, wanted) :], limit, request.stop)
        self._calls = _calls(request)
        self._thought = "!think" in _text_of(request) and not _is_broken(request) and _may_think(request)
        self._rejected = len(encode(request.prediction)) if request.prediction else 0
        self._explains = request.explains and index == 0

    def _cited(self, words: list[int]) -> list[int]:
        """With markers between them."""
        return [token for word in words for token in (word, *encode(self._random.choice(MARKERS)))]

    def events(self, num_prompt: int, cached: int) -> Iterator[Event]:
        """Echo, tokens, and the finish."""
        yield from self._tell(self._echo, echo=True)
        if self._thought:
            yield Token(self._index, "let me see", 3, thought=True)
        usage = Usage(num_prompt, len(self._ids), cached, 3 * self._thought, 0, self._rejected)
        if self._calls:
            for number, (tool, arguments) in enumerate(self._calls):
                id_ = f"call_{_digest(f'{num_prompt} {self._index} {number}')[:24]}"
                yield ToolCallDelta(self._index, number, "", id_, tool.name, tool.is_custom)
                for at in range(0, len(arguments), 4):
                    yield ToolCallDelta(self._index, number, arguments[at : at + 4], is_custom=tool.is_custom)
            if self._explains:
                yield Computed(ids=packed(self._ids), together=1)
            yield Finished(self._index, "tool_calls", usage)
            return
        yield from self._tell(self._ids)
        if self._explains:
            yield Computed(ids=packed(self._ids), together=1)
        yield Finished(self._index, self._reason, usage)

    def _tell(self, ids: Sequence[int], *, echo: bool = False) -> Iterator[Token]:
        for place, token in enumerate(ids):
            piece = VOCABULARY[token]
            logprobs: tuple[TokenLogprob, ...] = ()
            if self._num_top is not None:
                logprobs = (self._logprob(token, first=echo and place == 0),)
            yield Token(self._index, piece.decode("utf-8", "replace"), 1, logprobs, echo)

    def _logprob(self, token: int, *, first: bool) -> TokenLogprob:
        if first:
            return TokenLogprob(token, VOCABULARY[token], None)
        num = self._num_top or 0
        best = -0.05 - self._random.random()
        others = [i for i in range(256, 256 + num + 1) if i != token][: max(num - 1, 0)]
        top = ((token, best), *((other, best - 1 - rank) for rank, other in enumerate(others)))[:num]
        return TokenLogprob(token, VOCABULARY[token], best, tuple((i, VOCABULARY[i], value) for i, value in top))


def _is_broken(request: GenerateRequest) -> bool:
    return isinstance(request.prompt, ChatPrompt) and request.prompt.continues


def _broken_text(request: GenerateRequest) -> str:
    prompt = request.prompt
    return prompt.messages[-1].content if isinstance(prompt, ChatPrompt) and prompt.continues else ""


def _may_think(request: GenerateRequest) -> bool:
    return not isinstance(request.prompt, ChatPrompt) or request.prompt.thinking is not False


def _begun(request: GenerateRequest, wanted: Sequence[int]) -> int:
    """How many of the tokens a broken answer, which is to be continued, has already."""
    begun, num = _broken_text(request).encode(), 0
    while begun and num < len(wanted) and begun.startswith(piece := VOCABULARY[wanted[num]]):
        begun, num = begun[len(piece) :], num + 1
    return num


def _allowed(bias: dict[int, float]) -> Sequence[int]:
    forced = [token for token, value in bias.items() if value >= 100]
    return forced[:1] or [i for i in range(256, len(VOCABULARY)) if bias.get(i, 0) > -100]


def _calls(request: GenerateRequest) -> list[tuple[Tool, str]]:
    """The calls of an answer, each a tool and its arguments."""
    prompt = request.prompt
    if not isinstance(prompt, ChatPrompt) or prompt.tools is None or prompt.tools.choice == "none":
        return []
    use, last = prompt.tools, prompt.messages[-1]
    if use.choice == "auto" and (last.role == "tool" or "!call" not in last.content):
        return []
    able = [tool for tool in use.tools if not use.allowed or tool.name in use.allowed]
    if spell := _CALL.search(last.content):
        return [(tool, spell[2]) for tool in able if tool.name == spell[1]]
    return [
        (tool, "1 + 1" if tool.is_custom else _example(Constraint("json_schema", tool.parameters)))
        for tool in (able if use.parallel else able[:1])
    ]


def _cut(ids: list[int], limit: int, stop: tuple[str, ...]) -> tuple[list[int], FinishReason]:
    """The tokens before the limit and before a stop string; a token that a stop begins in is dropped whole."""
    kept = ids[:limit]
    text = b"".join(VOCABULARY[i] for i in kept)
    ends = [at for at in (text.find(one.encode()) for one in stop) if at >= 0]
    if ends:
        total, num = 0, 0
        while num < len(kept) and total + len(VOCABULARY[kept[num]]) <= min(ends):
            total += len(VOCABULARY[kept[num]])
            num += 1
        return kept[:num], "stop"
    return kept, "length" if len(ids) > limit else "stop"


def _example(constraint: Constraint) -> str:
    if constraint.kind == "json_object":
        return '{"answer": "fake"}'
    plain = re.sub(r"\\(.)", r"\1", constraint.schema)
    if constraint.kind == "regex" and re.fullmatch(constraint.schema, plain):
        return plain
    if constraint.kind != "json_schema":
        raise errors.InvalidRequest("The fake satisfies JSON schemas and plain text only.", param="response_format")
    schema = json.loads(constraint.schema)
    return json.dumps(_value(schema, schema, 0))


def _value(schema: Any, root: Any, depth: int) -> Any:
    """The smallest value that the schema allows, for the keywords that tests use."""
    if depth > 32 or schema is False:
        raise errors.InvalidRequest("The fake cannot satisfy this schema.", param="response_format")
    if not isinstance(schema, dict):
        return None
    node = cast("dict[str, Any]", schema)
    for key in ("const", "default"):
        if key in node:
            return node[key]
    if "enum" in node:
        return node["enum"][0]
    if "$ref" in node:
        here = root
        for part in str(node["$ref"]).removeprefix("#").strip("/").split("/"):
            here = here[part] if part else here
        return _value(here, root, depth + 1)
    if "anyOf" in node:
        return _value(min(node["anyOf"], key=lambda one: len(msgspec.json.encode(one))), root, depth + 1)
    kind: Any = node.get("type", "object" if "properties" in node else "null")
    first: Any = cast("list[Any]", kind)[0] if isinstance(kind, list) else kind
    return _simple(first, node, root, depth)


def _simple(kind: str, node: dict[str, Any], root: Any, depth: int) -> Any:
    match kind:
        case "object":
            wanted = node.get("required", [])
            return {key: _value(node.get("properties", {}).get(key, True), root, depth + 1) for key in wanted}
        case "array":
            return [_value(node.get("items", True), root, depth + 1) for _ in range(node.get("minItems", 0))]
        case "string":
            return "x" * node.get("minLength", 0)
        case "integer" | "number":
            return node.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None


class FakeEmbedder:
    """The shipped fake of the other seam: an `Embed` whose vectors are hashes of the words, brought to length 1.

    Texts may hold `!raise NAME` and `!hang`. `model` describes it for a `FakeEngine(others=...)`; with `resizable` its
    vectors may be cut.
    """

    def __init__(self, name: str = "fake-embed", *, dimensions: int = 8, resizable: bool = False) -> None:
        self.model = ModelInfo(
            id=name, version=_digest(name)[:12], created=1_700_000_000, context_length=64, state="ready",
            kind="embedding",
        )  # fmt: skip
        self._dimensions = dimensions
        self._resizable = resizable
        self.running = 0
        self.requests: list[EmbedRequest] = []

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`."""
        self.requests.append(request)
        self.running += 1
        try:
            return await self._embed(request)
        finally:
            self.running -= 1

    async def _embed(self, request: EmbedRequest) -> Embeddings:
        wanted = request.dimensions or self._dimensions
        if wanted != self._dimensions and (not self._resizable or wanted > self._dimensions):
            raise errors.InvalidRequest("Invalid 'dimensions': this model cannot.", param="dimensions")
        vectors, num_tokens = b"", 0
        for given in request.inputs:
            ids = encode(given) if isinstance(given, str) else given
            if isinstance(given, str) and (spell := _SPELL.search(given)):
                if spell[1] == "hang":
                    await asyncio.Event().wait()
                raise errors.from_wire(spell[2] or "", "By a spell.", "spell", None)
            if len(ids) > self.model.context_length:
                raise errors.ContextLengthExceeded(f"{len(ids)} tokens are too many.", param="input")
            num_tokens += len(ids)
            draw = random.Random(repr(ids))  # noqa: S311 - a fake, and the same every time
            vector = [draw.uniform(-1, 1) for _ in range(self._dimensions)][:wanted]
            length = sum(value * value for value in vector) ** 0.5
            vectors += struct.pack(f"<{wanted}f", *(value / length for value in vector))
        return Embeddings(vectors, wanted, num_tokens)
