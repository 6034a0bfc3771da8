"""What is written down while a response is made, so that it can be told later how: `Trace`, of one response.

A generation is noted before it begins, when the engine has told what it was shown, and when it has ended; `take` gives
what is to be written since. Whatever cannot be found out later is in it: the prompt, since items of a conversation may
go; the seed, the weights and the build; which messages were left out; the tokens that came out.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from mainspring import __version__
from mainspring.core.canonical import digest_of
from mainspring.core.receipt import Computed, Prompted
from mainspring.core.types import (
    ChatPrompt,
    Constraint,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    Sampling,
    Spilled,
    Token,
    ToolCallDelta,
    Usage,
)
from mainspring.responses.prompt import Unit, text_of
from mainspring.store.receipts import END
from mainspring.store.responses import Entry

__all__ = [
    "End", "Generation", "ReceiptPassage", "Shown", "Trace", "end_of", "ended", "files_in", "generation_of",
    "items_digest", "said_in",
]  # fmt: skip

MAX_BESIDE = 100_000
"""Characters of what was left out that are counted in tokens: of more, the latest."""
MAX_BEGINNING = 120

Json = dict[str, Any]


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message: its role, the ids of the items that it was made of, how it begins, and whether it was left out."""

    role: str
    items: list[str]
    beginning: str
    left_out: bool = False


class Generation(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One run of a model.

    Args:
        model: the deployment that answered.
        sampling, ...: as they were asked for, see `GenerateRequest`.
        messages: of the prompt and beside it, in order.
        began: items of the output that there were before.
        said, thought, called: what came out, as the model wrote it.
        reason, usage: None if it was broken off.
    """

    model: str
    prompt: ChatPrompt
    max_tokens: int | None
    sampling: Sampling
    constraint: Constraint | None
    cites: tuple[int, ...]
    messages: list[Shown]
    began: int
    prompted: Prompted | None = None
    computed: Computed | None = None
    said: str = ""
    thought: str = ""
    called: str = ""
    reason: FinishReason | None = None
    usage: Usage | None = None


class ReceiptPassage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A passage that a tool found for this response. Hashes are SHA-256; `text_sha256` is of what the model was shown,
    `file_sha256` of the whole file when the response ended. `start` and `end` are characters of the document's text."""

    number: int
    tool: str
    text_sha256: str
    file_id: str | None = None
    filename: str | None = None
    file_sha256: str | None = None
    url: str | None = None
    start: int | None = None
    end: int | None = None
    page: int | None = None


class End(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is written last.

    Args:
        text_sha256: of all that was said, in UTF-8.
        items_sha256: of the output's items without `logprobs`, in canonical JSON.
        traces: the SHA-256 of each generation, as it was written down.
        server: the version of this program.
    """

    text_sha256: str
    items_sha256: str
    traces: dict[int, str]
    passages: list[ReceiptPassage]
    server: str = __version__


class Trace:
    """See the module.

    Args:
        before: generations of the response that others have noted.
    """

    def __init__(self, before: int = 0) -> None:
        self._number = before
        self._current: Generation | None = None
        self._said: list[str] = []
        self._thought: list[str] = []
        self._called: list[str] = []
        self._dirty = False
        self._done: dict[int, bytes] = {}

    @property
    def num(self) -> int:
        """How many generations there were."""
        return self._number

    def begin(
        self, request: GenerateRequest, units: Sequence[Unit], kept: Sequence[Unit], began: int
    ) -> GenerateRequest:
        """A generation is about to begin; the request that it is to be made with.

        Args:
            units: of the whole conversation.
            kept: those of them that the model is shown.
        """
        if self._current is None or self._current.prompted is not None:  # else it is tried again with less
            self._close()
            self._number += 1
        assert isinstance(request.prompt, ChatPrompt), "responses are made of chats"
        shown = {id(each) for each in kept}
        messages = [message for unit in units for message in _shown(unit, left_out=id(unit) not in shown)]
        if request.prompt.continues:
            messages.append(Shown("assistant", [], request.prompt.messages[-1].content[:MAX_BEGINNING]))
        self._current = Generation(
            model=request.model, prompt=request.prompt, max_tokens=request.max_tokens, sampling=request.sampling,
            constraint=request.constraint, cites=request.cites, messages=messages, began=began,
        )  # fmt: skip
        left = [message.content for unit in units if id(unit) not in shown for message in unit.messages]
        return msgspec.structs.replace(request, explains=True, beside=_counted(left))

    def note(self, event: Event) -> None:
        """What the engine tells."""
        made = self._current
        if made is None:
            return
        match event:
            case Prompted():
                made.prompted, self._dirty = event, True
            case Computed():
                made.computed = event
            case Spilled():
                made.model = event.to
            case Token():
                (self._thought if event.thought else self._said).append(event.text)
            case ToolCallDelta():
                self._called.append(f"{event.name}{event.arguments}")
            case Finished():
                made.reason, made.usage, self._dirty = event.reason, event.usage, True
                self._close()
            case _:
                pass

    def _close(self) -> None:
        """The current generation is over, or nothing more is known of it."""
        if self._current is None:
            return
        made = self._current
        made.said, made.thought, made.called = "".join(self._said), "".join(self._thought), "".join(self._called)
        if self._dirty:
            self._done[self._number] = msgspec.json.encode(made)
        self._said, self._thought, self._called = [], [], []
        self._current, self._dirty = None, False

    def take(self) -> dict[int, bytes]:
        """What is to be written down since this was asked last, by its numbers."""
        taken, self._done = self._done, {}
        if self._current is not None and self._dirty:
            taken[self._number] = msgspec.json.encode(self._current)
            self._dirty = False
        return taken


def generation_of(body: bytes) -> Generation | None:
    """What was written down; None if it cannot be read."""
    try:
        return msgspec.json.decode(body, type=Generation)
    except msgspec.MsgspecError:
        return None


def end_of(body: bytes) -> End | None:
    """The same of what was written last."""
    try:
        return msgspec.json.decode(body, type=End)
    except msgspec.MsgspecError:
        return None


def ended(outputs: Sequence[Entry], traces: dict[int, bytes], hashes: dict[str, str]) -> bytes:
    """What is to be written down at the end.

    Args:
        traces: all that was written before.
        hashes: of files, by their ids.
    """
    end = End(
        text_sha256=_sha256(said_in(outputs).encode()), items_sha256=items_digest(outputs),
        traces={seq: _sha256(body) for seq, body in traces.items() if seq != END},
        passages=[each for entry in outputs for each in _passages(entry, hashes)],
    )  # fmt: skip
    return msgspec.json.encode(end)


def said_in(outputs: Sequence[Entry]) -> str:
    """All texts of an output, one behind the other."""
    return "".join(text_of(entry.item["content"]) for entry in outputs if entry.item["type"] == "message")


def items_digest(outputs: Sequence[Entry]) -> str:
    """Of an output's items, as `End` has it."""
    return digest_of([_plain(entry.kept.get("item", entry.item)) for entry in outputs])


def files_in(outputs: Sequence[Entry]) -> list[str]:
    """The ids of the files that passages in an output are of."""
    return sorted({each["file"] for entry in outputs for each in _found_by(entry) if each.get("file")})


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _plain(item: Json) -> Json:
    """Without what is an answer's bulk and says nothing of it that its tokens do not."""
    if item["type"] != "message":
        return item
    return {**item, "content": [{**part, "logprobs": []} for part in item["content"]]}


def _shown(unit: Unit, *, left_out: bool) -> list[Shown]:
    """The unit's messages; its items are those of the first."""
    return [
        Shown(message.role, [] if at else unit.items, " ".join(message.content[:MAX_BEGINNING].split()), left_out)
        for at, message in enumerate(unit.messages)
    ]


def _counted(left: Sequence[str]) -> tuple[str, ...]:
    """The latest of the texts that are not too much together."""
    total, first = 0, len(left)
    while first and total + len(left[first - 1]) <= MAX_BESIDE:
        first -= 1
        total += len(left[first])
    return tuple(left[first:])


def _passages(entry: Entry, hashes: dict[str, str]) -> list[ReceiptPassage]:
    """What a tool has found."""
    return [
        ReceiptPassage(
            number=each["number"], tool=entry.item["type"].removesuffix("_call"),
            text_sha256=_sha256(str(each.get("text", "")).encode()), file_id=each.get("file"),
            filename=each.get("filename"), file_sha256=hashes.get(each.get("file", "")), url=each.get("url"),
            start=each.get("start"), end=each.get("end"), page=each.get("page"),
        )
        for each in _found_by(entry)
    ]  # fmt: skip


def _found_by(entry: Entry) -> list[Json]:
    kept: list[Any] = entry.kept.get("tool", {}).get("passages", [])
    return [each for each in kept if isinstance(each, dict) and "number" in each]
