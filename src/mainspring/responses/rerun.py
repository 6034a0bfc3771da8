"""Making an answer again from its receipt, and saying whether it is the same.

Each generation is made once more: the same messages, parameters and seed, at low priority, with what tools have said
taken from the trace, so that tools are not asked again. Then tokens are compared, and texts. What a difference means
docs/CHATS.md says: sums of floating-point numbers depend on what was computed beside them.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import zip_longest
from typing import Any, Literal, cast

import msgspec

from mainspring.core.errors import MainspringError
from mainspring.core.ids import new_id
from mainspring.core.receipt import Computed, EngineBuild, Prompted, Weights
from mainspring.core.seams import Generate
from mainspring.core.types import Event, GenerateRequest, Token, ToolCallDelta
from mainspring.responses.receipt import Parts, hash_of
from mainspring.responses.trace import Generation

__all__ = ["Check", "Rerun", "RerunGeneration", "Wanted", "first_difference", "rerun", "unchecked"]

Json = dict[str, Any]
AROUND = 60
"""Characters that are shown before and behind the place where two texts part."""

_MISSING = object()

NEAR, NEAR_SORTED = 0.15, 0.4
"""Of probability: what rounding moves draws by at most; measured were 0.05, and 0.25 with `top_p`, where words of like
probability change places (docs/LOG.md). Another seed's draws were 0.4 off on average, and 0.9 at most."""

Check = Callable[[Weights], Awaitable[str | None]]
"""Why a model cannot be what it was, if it cannot: it is gone, or its files are others."""


async def unchecked(_: Weights) -> str | None:
    """A `Check` for who has no files to look at."""
    return None


class Around(msgspec.Struct, frozen=True):
    """A text around the place where it parts from another."""

    before: str
    after: str


class RerunGeneration(msgspec.Struct, kw_only=True):
    """A generation that was made again.

    Args:
        generation: its place in the receipt, from 0.
        identical: null if that could not be found out; then `why` says why.
        token, character: the first ones that differ, from 0; of all the model wrote: thoughts, then text, then calls.
        original, again: both texts around that place.
        drawn_again: of the original's tokens, how many are drawn again if what comes before each of them is the
            original's. Null where the model reads text in other tokens.
        farthest: of those that are not, how much probability lies between the draw and the token, at most. Rounding
            moves draws a little (`NEAR`); another seed, prompt or model moves them anywhere.
        weights, engine: what it was computed with now.
        computed_together, guessed_tokens: see the receipt.
    """

    generation: int
    identical: bool | None = None
    why: str | None = None
    token: int | None = None
    character: int | None = None
    original: Around | None = None
    again: Around | None = None
    tokens: int | None = None
    drawn_again: int | None = None
    farthest: float | None = None
    weights: Weights | None = None
    engine: EngineBuild | None = None
    computed_together: int | None = None
    guessed_tokens: int | None = None


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Args:
        deployment: the one that was asked, if it was another than the receipt's.
        identical: all generations came out the same, and nothing of the record has been altered; null if that could
            not be found out.
        consistent: identical, or no draw is farther from the original's token than rounding explains: the answer was
            made as the receipt says, and its words are those.
        why: why not, or why nobody knows.
        receipt: whether the receipt that was sent is the one that the server gives.
        differs_at: where it is another, as a JSON pointer.
    """

    object: Literal["response.rerun"] = "response.rerun"
    id: str
    deployment: str | None
    identical: bool | None
    consistent: bool | None
    why: str | None
    altered: list[str]
    receipt: Literal["matches", "differs", "not sent"]
    differs_at: str | None
    runs: list[RerunGeneration]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How a response is to be made again, and for whom. `receipt` is one that somebody has kept."""

    id: str
    project: str
    tenant: str
    model: str | None = None
    receipt: Json | None = None
    deadline_s: float | None = None


async def rerun(wanted: Wanted, parts: Parts, receipt: Json, generate: Generate, check: Check) -> Rerun:
    """Make all generations again.

    Args:
        receipt: as the server gives it.
    """
    sent, at = _held_against(wanted.receipt, receipt)
    why = _why_not(parts) or (f"The receipt that was sent is another one, at {at}." if sent == "differs" else None)
    runs: list[RerunGeneration] = []
    for number, made in enumerate(parts.generations):
        if why is None:
            runs.append(await _again(wanted, number, made, generate, check))
    if why is None:
        why = next((each.why for each in runs if each.why is not None), None)
    return Rerun(
        id=wanted.id, deployment=wanted.model, identical=(same := _verdict(runs, parts, why)),
        consistent=None if same is None else not parts.altered and all(map(_is_near, runs, parts.generations)), why=why,
        altered=parts.altered, receipt=sent, differs_at=at, runs=runs,
    )  # fmt: skip


def _is_near(run: RerunGeneration, made: Generation) -> bool:
    most = NEAR if made.sampling.top_p >= 1.0 else NEAR_SORTED
    return bool(run.identical) or (run.farthest is not None and run.farthest <= most)


def _why_not(parts: Parts) -> str | None:
    """Why there is nothing that could be made again."""
    if any(each.startswith("generation") for each in parts.altered):
        return f"What was written down has been altered: {', '.join(parts.altered)}."
    if not parts.generations:
        return "Nobody has written down how it was made."
    return None


def _verdict(runs: Sequence[RerunGeneration], parts: Parts, why: str | None) -> bool | None:
    if any(each.identical is False for each in runs):
        return False
    if why is not None:
        return None
    return not parts.altered


def _held_against(sent: Json | None, ours: Json) -> tuple[Literal["matches", "differs", "not sent"], str | None]:
    if sent is None:
        return "not sent", None
    at = first_difference(sent, ours)
    if at is None and sent.get("sha256") != hash_of(sent):
        at = "/sha256"
    return ("matches", None) if at is None else ("differs", at)


def first_difference(one: Any, other: Any, at: str = "") -> str | None:
    """Where two documents of JSON differ first, as a JSON pointer (RFC 6901); None if they do not."""
    if isinstance(one, dict) and isinstance(other, dict):
        mine, theirs = cast("Json", one), cast("Json", other)
        pairs = [(name, mine.get(name, _MISSING), theirs.get(name, _MISSING)) for name in sorted({*mine, *theirs})]
    elif isinstance(one, list) and isinstance(other, list):
        both = zip_longest(cast("list[Any]", one), cast("list[Any]", other), fillvalue=_MISSING)
        pairs = [(str(number), *pair) for number, pair in enumerate(both)]
    else:
        equal = one == other and isinstance(one, bool) == isinstance(other, bool)
        return None if equal else at or "/"
    places = (
        first_difference(left, right, f"{at}/{name.replace('~', '~0').replace('/', '~1')}")
        for name, left, right in pairs
    )
    return next((each for each in places if each is not None), None)


# -- a generation ------------------------------------------------------------------------------------------------------


async def _again(wanted: Wanted, number: int, made: Generation, generate: Generate, check: Check) -> RerunGeneration:
    run = RerunGeneration(generation=number)
    prompted = made.prompted
    if prompted is None or prompted.seed is None:
        run.why = "The engine did not tell what the model was shown, or which seed was used."
        return run
    if made.computed is None:
        run.why = "It was broken off: how long it would have gone on, nobody knows."
        return run
    if wanted.model is None:
        for each in (prompted.weights, prompted.adapter):
            run.why = run.why or (await check(each) if each is not None else None)
        if run.why is not None:
            return run
    request = GenerateRequest(
        id=new_id("rerun_"), model=wanted.model or made.model, prompt=made.prompt, tenant=wanted.tenant,
        project=wanted.project, spillover="", streams=False, max_tokens=made.max_tokens,
        sampling=msgspec.structs.replace(made.sampling, seed=prompted.seed), constraint=made.constraint,
        cites=made.cites, deadline_s=wanted.deadline_s, tier="flex", explains=True,
    )  # fmt: skip
    try:
        await _made(run, request, made, prompted, generate, strict=wanted.model is None)
    except MainspringError as error:
        run.identical, run.why = None, f"It could not be made again: {error.message}"
    return run


class _Heard:
    """What came out."""

    def __init__(self) -> None:
        self.prompted: Prompted | None = None
        self.computed: Computed | None = None
        self._said, self._thought, self._called = list[str](), list[str](), list[str]()

    def note(self, event: Event) -> None:
        match event:
            case Prompted():
                self.prompted = event
            case Computed():
                self.computed = event
            case Token():
                (self._thought if event.thought else self._said).append(event.text)
            case ToolCallDelta():
                self._called.append(f"{event.name}{event.arguments}")
            case _:
                pass

    @property
    def text(self) -> str:
        return "".join([*self._thought, *self._said, *self._called])


async def _made(
    run: RerunGeneration, request: GenerateRequest, made: Generation, before: Prompted, generate: Generate, *,
    strict: bool,
) -> None:  # fmt: skip
    heard = _Heard()
    async with aclosing(generate(request)) as events:
        async for event in events:
            heard.note(event)
            if isinstance(event, Prompted):
                run.weights, run.engine = event.weights, event.engine
                run.why = _other(before, event) if strict else None
                if run.why is not None:
                    return
    if heard.computed is None or heard.prompted is None:
        run.why = "It was broken off when it was made again, by a content filter or by its engine."
        return
    now = heard.computed
    run.tokens, run.computed_together, run.guessed_tokens = len(now.ids) // 4, now.together or None, now.guessed
    original = made.computed.ids if made.computed is not None else b""
    reads_alike = heard.prompted.sha256 == before.sha256
    texts = f"{made.thought}{made.said}{made.called}", heard.text
    _compare(run, (original, now.ids), texts, by_tokens=reads_alike)
    if run.identical:
        run.drawn_again, run.farthest = (len(original) // 4, 0.0) if reads_alike else (None, None)
    elif reads_alike:
        follows = msgspec.structs.replace(request, id=new_id("rerun_"), follows=original)
        await _follow(run, follows, len(original) // 4, generate)


async def _follow(run: RerunGeneration, request: GenerateRequest, num: int, generate: Generate) -> None:
    """Of the tokens that an answer has, how many would be drawn again in their places, and how near the others are."""
    heard = _Heard()
    async with aclosing(generate(request)) as events:
        async for event in events:
            heard.note(event)
    if heard.computed is not None:
        run.drawn_again = num - sum(at < num for at, _ in heard.computed.parted)
        run.farthest = max((far for _, far in heard.computed.parted), default=0.0)


def _other(before: Prompted, now: Prompted) -> str | None:
    """What it would be made with, if that is not what the receipt names."""
    for was, is_now in ((before.weights, now.weights), (before.adapter, now.adapter)):
        if was is not None and is_now != was:
            other = is_now.model if is_now is not None else "a model that nobody knows"
            form = f" in {is_now.format}" if is_now is not None else ""
            return f"The deployment serves {other}{form} now, and not {was.model} in {was.format}."
    if now.sha256 != before.sha256:
        return "The model's chat template makes another prompt of the same messages now, as one with today's date does."
    return None


def _compare(run: RerunGeneration, ids: tuple[bytes, bytes], texts: tuple[str, str], *, by_tokens: bool) -> None:
    run.identical = texts[0] == texts[1] and (ids[0] == ids[1] or not by_tokens)
    if run.identical:
        return
    if by_tokens and ids[0] != ids[1]:
        most = min(len(ids[0]), len(ids[1])) // 4
        run.token = next((at for at in range(most) if ids[0][4 * at : 4 * at + 4] != ids[1][4 * at : 4 * at + 4]), most)
    shorter = min(map(len, texts))
    at = next((at for at in range(shorter) if texts[0][at] != texts[1][at]), shorter)
    run.character = at
    run.original, run.again = (Around(text[max(at - AROUND, 0) : at], text[at : at + AROUND]) for text in texts)
