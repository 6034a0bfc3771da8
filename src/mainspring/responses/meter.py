"""What a model was shown for an answer, message by message, in tokens: counted where they stand in its prompt."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from mainspring.responses.trace import Generation
from mainspring.store.responses import Kept

__all__ = ["ContextMessage", "ResponseContext", "context_of"]


class ContextMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message.

    Args:
        items: ids of the items that it was made of; results of calls are with the message that called.
        beginning: of its text.
        state: seen by the model; seen and cached, from its first token to its last; or left out, for lack of room.
        tokens: of its text, without what the template writes around it; null if nobody knows.
        cached_tokens: of those, that were not computed again.
    """

    role: str
    items: list[str]
    beginning: str
    state: Literal["seen", "cached", "left_out"]
    tokens: int | None
    cached_tokens: int | None


class ResponseContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was shown, of its last generation.

    Args:
        status: of the response, which may go on.
        context_length: most tokens of prompt and answer together; null while nobody knows.
        prompt_tokens: all that it was shown.
        template_tokens: of those, what belongs to no message: the template's marks, the tools, where it is to begin.
        answer_tokens: that it has written; null while it goes on.
        left_out: messages that were, to make room.
        is_exact: where each message's tokens stand is known.
    """

    object: Literal["response.context"] = "response.context"
    id: str
    status: str
    context_length: int | None
    prompt_tokens: int | None
    template_tokens: int | None
    cached_tokens: int | None
    answer_tokens: int | None
    left_out: int
    is_exact: bool
    messages: list[ContextMessage]


def context_of(kept: Kept, generations: Sequence[Generation]) -> ResponseContext | None:
    """Of the last generation that has been told of; None if none has."""
    made = next((each for each in reversed(generations) if each.prompted is not None), None)
    if made is None or made.prompted is None:
        return None
    prompted, messages = made.prompted, list(_messages(made))
    inside = sum(each.tokens or 0 for each in messages if each.state != "left_out")
    exact = bool(prompted.spans)
    return ResponseContext(
        id=kept.id, status=kept.status, context_length=prompted.context_length, prompt_tokens=prompted.num_tokens,
        template_tokens=prompted.num_tokens - inside if exact else None, cached_tokens=prompted.cached,
        answer_tokens=made.usage.completion if made.usage is not None else None,
        left_out=sum(each.state == "left_out" for each in messages), is_exact=exact, messages=messages,
    )  # fmt: skip


def _messages(made: Generation) -> Iterator[ContextMessage]:
    assert made.prompted is not None, "asked of one that has been told of"
    spans, beside = iter(made.prompted.spans), made.prompted.beside
    uncounted = sum(each.left_out for each in made.messages) - len(beside)
    left = iter([*([None] * uncounted), *beside])
    for each in made.messages:
        if each.left_out:
            yield ContextMessage(
                role=each.role, items=each.items, beginning=each.beginning, state="left_out", tokens=next(left, None),
                cached_tokens=0,
            )  # fmt: skip
            continue
        span = next(spans, None)
        tokens = None if span is None else span[1] - span[0]
        cached = None if span is None else min(max(made.prompted.cached - span[0], 0), span[1] - span[0])
        is_cached = cached == tokens and bool(tokens)
        yield ContextMessage(
            role=each.role, items=each.items, beginning=each.beginning, state="cached" if is_cached else "seen",
            tokens=tokens, cached_tokens=cached,
        )  # fmt: skip
