"""What the fake engine tells of its prompts, as the real one does. Nobody's weights are known of it."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from mainspring.core.receipt import EngineBuild, Prompted, Weights
from mainspring.core.types import ChatPrompt, GenerateRequest, ModelInfo
from mainspring.engine.positions import digest

__all__ = ["shown"]


def shown(
    request: GenerateRequest, prompt: Sequence[int], vocabulary: Sequence[bytes], *, cached: int, context_length: int,
    model: ModelInfo,
) -> Prompted:  # fmt: skip
    """What the model reads, with the messages' places in it; a seed of 0 is none."""
    pieces = [vocabulary[token] for token in prompt]
    starts = [0, *accumulate(map(len, pieces))][:-1]
    return Prompted(
        text=b"".join(pieces).decode("utf-8", "replace"), num_tokens=len(prompt), sha256=digest(prompt),
        context_length=context_length, cached=cached, seed=request.sampling.seed or 0, spans=_spans(request, starts),
        beside=tuple(len(text.split()) for text in request.beside),
        engine=EngineBuild(name="fake", build="0"),
        weights=Weights(model=f"{model.id}@{model.version}", format="shipped", files=()),
    )  # fmt: skip


def _spans(request: GenerateRequest, starts: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if not isinstance(request.prompt, ChatPrompt):
        return ()
    spans: list[tuple[int, int]] = []
    at = 0
    messages = request.prompt.messages
    for message in messages[:-1] if request.prompt.continues else messages:
        start = at + len(f"<{message.role}>")
        end = start + len(message.content.encode())
        spans.append((bisect_left(starts, start), bisect_left(starts, end)))
        at = end + 1
    return (*spans, (len(starts), len(starts))) if request.prompt.continues else tuple(spans)
