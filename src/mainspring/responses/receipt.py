"""Receipts: how a response was made, from what was written down when it was, and what of that still holds.

A receipt is a document: whoever keeps it, or only its hash, can hold it against what the server says later. It proves
nothing against whoever can write to the server's database and forges trace and answer together; docs/CHATS.md says what
it does prove.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from mainspring.core.canonical import digest_of
from mainspring.core.receipt import EngineBuild, Weights
from mainspring.core.types import Constraint
from mainspring.responses.meter import ResponseContext, context_of
from mainspring.responses.trace import (
    End,
    Generation,
    ReceiptPassage,
    end_of,
    generation_of,
    items_digest,
    said_in,
)
from mainspring.store.receipts import END
from mainspring.store.responses import Entry, Kept

__all__ = ["Parts", "Receipt", "ReceiptAnswer", "ReceiptGeneration", "ReceiptPrompt", "parts_of", "receipt_of"]

Json = dict[str, Any]


class ReceiptPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """What the model read. `tokens_sha256` is over the ids, each as four bytes, little-endian: text alone does not tell
    a control token from its name."""

    text: str
    text_sha256: str
    tokens: int
    tokens_sha256: str
    context_length: int


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """How its words were chosen. `seed` is the one that was used; null if nobody knows."""

    temperature: float
    top_p: float
    frequency_penalty: float
    presence_penalty: float
    seed: int | None
    seed_was_given: bool
    logit_bias: dict[str, float]


class ReceiptGeneration(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the model.

    Args:
        weights, adapter, engine, prompt: null if the engine does not tell.
        max_tokens: null is as many as the context holds.
        constraint: what the answer had to match.
        cites: numbers of passages, the only ones that markers could have.
        tokens, tokens_sha256: that came out; null if it was broken off.
        cached_tokens: of the prompt, from its first on, that were not computed again.
        computed_together: most sequences that were computed in one step with it.
        guessed_tokens: that were tried ahead.
    """

    deployment: str
    weights: Weights | None
    adapter: Weights | None
    engine: EngineBuild | None
    prompt: ReceiptPrompt | None
    drawing: Drawing
    max_tokens: int | None
    constraint: Constraint | None
    cites: tuple[int, ...]
    tokens: int | None
    tokens_sha256: str | None
    cached_tokens: int | None
    computed_together: int | None
    guessed_tokens: int | None
    finish_reason: str | None


class ReceiptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came out of it, now. `text_sha256` is of all that was said, in UTF-8; `items_sha256` of the output's items
    without `logprobs`, in canonical JSON."""

    characters: int
    text_sha256: str
    items_sha256: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """How a response was made.

    Args:
        generations: one for each time that the model was asked, tools lie between them.
        context: see GET /v1/x/responses/{id}/context.
        sources: passages that tools have found for it.
        unknown: what nobody has written down.
        altered: what is no longer as it was when the response ended.
        server: the version of this program that made it.
        sha256: of all the rest, in canonical JSON (RFC 8785).
    """

    object: Literal["response.receipt"] = "response.receipt"
    id: str
    status: str
    created_at: int
    completed_at: int | None
    deployment: str
    generations: list[ReceiptGeneration]
    context: ResponseContext | None
    sources: list[ReceiptPassage]
    answer: ReceiptAnswer
    unknown: list[str]
    altered: list[str]
    server: str | None
    sha256: str = ""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What was written down, read. `altered` and `unknown` as of `Receipt`."""

    generations: list[Generation]
    end: End | None
    unknown: list[str]
    altered: list[str]


def parts_of(traces: Mapping[int, bytes], outputs: Sequence[Entry]) -> Parts:
    """What was written down of a response that is over, and what no longer fits."""
    read = {seq: generation_of(body) for seq, body in traces.items() if seq != END}
    generations = [each for each in read.values() if each is not None]
    end = end_of(traces[END]) if END in traces else None
    altered = [f"generation {seq}" for seq, each in read.items() if each is None]
    unknown: list[str] = []
    if not traces or end is None:
        unknown.append("how it was made: it is from before receipts were written, or was imported")
    elif not generations and end.traces:
        altered.append("generations")
    elif not generations:
        unknown.append("how it was made: no model was asked, or its engine was lost before it began")
    if end is not None:
        altered += _altered(end, traces, outputs, known=set(read))
    for seq, each in read.items():
        if each is not None:
            unknown += _unknown(each, f"generation {seq}")
    return Parts(generations=generations, end=end, unknown=unknown, altered=sorted(set(altered)))


def _altered(end: End, traces: Mapping[int, bytes], outputs: Sequence[Entry], known: set[int]) -> list[str]:
    found = [
        f"generation {seq}"
        for seq in known | set(end.traces)
        if seq not in traces or hashlib.sha256(traces[seq]).hexdigest() != end.traces.get(seq)
    ]
    said, items = _hash(said_in(outputs)), items_digest(outputs)
    return [*found, *(["answer"] if (said, items) != (end.text_sha256, end.items_sha256) else ())]


def _unknown(made: Generation, which: str) -> list[str]:
    if made.prompted is None:
        return [f"{which}: the engine does not tell what the model was shown"]
    missing = {
        "weights": made.prompted.weights, "engine": made.prompted.engine, "seed": made.prompted.seed,
        "tokens of the answer: it was broken off": made.computed,
    }  # fmt: skip
    found = [f"{which}: {name}" for name, value in missing.items() if value is None]
    files = made.prompted.weights.files if made.prompted.weights else ()
    return [*found, *(f"{which}: the hash of {each.path}" for each in files if not each.sha256)]


def receipt_of(kept: Kept, parts: Parts, outputs: Sequence[Entry]) -> Receipt:
    """The receipt of a response that is over."""
    end, said = parts.end, said_in(outputs)
    receipt = Receipt(
        id=kept.id, status=kept.status, created_at=int(kept.created), completed_at=kept.body.get("completed_at"),
        deployment=kept.body["model"], generations=[_made(each) for each in parts.generations],
        context=context_of(kept, parts.generations), sources=end.passages if end is not None else [],
        answer=ReceiptAnswer(characters=len(said), text_sha256=_hash(said), items_sha256=items_digest(outputs)),
        unknown=parts.unknown, altered=parts.altered, server=end.server if end is not None else None,
    )  # fmt: skip
    return msgspec.structs.replace(receipt, sha256=hash_of(msgspec.to_builtins(receipt)))


def hash_of(receipt: Json) -> str:
    """What the `sha256` of a receipt is to be."""
    return digest_of({name: value for name, value in receipt.items() if name != "sha256"})


def _made(made: Generation) -> ReceiptGeneration:
    prompted, computed = made.prompted, made.computed
    asked = made.sampling
    return ReceiptGeneration(
        deployment=made.model,
        weights=prompted.weights if prompted else None,
        adapter=prompted.adapter if prompted else None,
        engine=prompted.engine if prompted else None,
        prompt=None
        if prompted is None
        else ReceiptPrompt(
            text=prompted.text, text_sha256=_hash(prompted.text), tokens=prompted.num_tokens,
            tokens_sha256=prompted.sha256, context_length=prompted.context_length,
        ),
        drawing=Drawing(
            temperature=asked.temperature, top_p=asked.top_p, frequency_penalty=asked.frequency_penalty,
            presence_penalty=asked.presence_penalty, seed=prompted.seed if prompted else asked.seed,
            seed_was_given=asked.seed is not None,
            logit_bias={str(token): value for token, value in asked.logit_bias.items()},
        ),
        max_tokens=made.max_tokens,
        constraint=made.constraint,
        cites=made.cites,
        tokens=None if computed is None else len(computed.ids) // 4,
        tokens_sha256=None if computed is None else hashlib.sha256(computed.ids).hexdigest(),
        cached_tokens=prompted.cached if prompted else None,
        computed_together=computed.together or None if computed else None,
        guessed_tokens=computed.guessed if computed else None,
        finish_reason=made.reason,
    )  # fmt: skip


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
