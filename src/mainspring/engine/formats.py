"""The formats that weights can be served in, which tensors each changes, and which one to take. No file, no clock.

A model file is published in the format that is small; the one that is fast is another, and which one depends on the
kernels that the inference library has for this processor. So formats are measured (`engine/llama/measure.py`), and
`choose` takes the fastest of those that keep what the model says.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod

import msgspec

from mainspring.models.gguf import TYPES, Layout, Tensor, num_bytes

__all__ = ["BOUND_NATS", "FORMATS", "SHIPPED", "Format", "Measurement", "choose", "describe", "plan", "score"]

SHIPPED = "shipped"
BOUND_NATS = 0.005
"""Largest mean KL divergence to the shipped file, in nats a token, of a format that is chosen by itself."""
MIN_GAIN = 1.05
"""A format must be this much faster than the shipped file to be worth its place on the disk."""

F32, F16, Q4_0, Q8_0, IQ4_NL, BF16 = 0, 1, 2, 8, 20, 30


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """A way to store the weights.

    Args:
        kind: the type (`gguf.TYPES`) of the matrices of the layers.
        careful: the type of those whose errors weigh most (attention, and the projection back from the feed-forward).
        file_type: llama.cpp's number for a file that is mostly so.
    """

    kind: int
    careful: int
    file_type: int


FORMATS: Mapping[str, Format] = {
    "q8_0": Format(kind=Q8_0, careful=Q8_0, file_type=7),
    "q4_0": Format(kind=Q4_0, careful=Q4_0, file_type=2),
    "mixed": Format(kind=Q4_0, careful=Q8_0, file_type=2),
    "iq4_nl": Format(kind=IQ4_NL, careful=IQ4_NL, file_type=25),
    "f16": Format(kind=F16, careful=F16, file_type=1),
}

# Only matrices that are multiplied with activations. Everything else (norms, biases, routers, convolutions, tables that
# are read by position) stays as it is, and so do the names of architectures to come that nobody has thought about.
_MATRIX = re.compile(r"blk\.\d+\.(attn_(q|k|v|qkv|output)|ffn_(gate|up|down)(_exps|_shexp)?)\.weight")
_CAREFUL = re.compile(r"\.(attn_|ffn_down)")
_VOCABULARY = ("token_embd.weight", "output.weight")


def _kind(tensor: Tensor, into: Format) -> int:
    """The type of one tensor in a format."""
    if tensor.name in _VOCABULARY:
        # It decides between tokens, so it keeps what it has, unless that is 16 bits or more for each weight.
        wanted = Q8_0 if into.kind != F16 and tensor.kind in (F32, F16, BF16) else tensor.kind
    elif _MATRIX.fullmatch(tensor.name):
        wanted = into.careful if _CAREFUL.search(tensor.name) else into.kind
    else:
        return tensor.kind
    fits = len(tensor.shape) in (2, 3) and tensor.shape[0] % TYPES[wanted][1] == 0
    return wanted if fits else tensor.kind


def plan(layouts: Iterable[Layout], into: Format) -> list[tuple[Tensor, int]]:
    """Each tensor of a model, shard by shard, and the type that it gets."""
    return [(tensor, _kind(tensor, into)) for layout in layouts for tensor in layout.tensors]


def planned_bytes(planned: Iterable[tuple[Tensor, int]]) -> int:
    """What the weights will take."""
    return sum(num_bytes(msgspec.structs.replace(tensor, kind=kind)) for tensor, kind in planned)


def describe(layouts: Iterable[Layout]) -> str:
    """The type of most weights of a file, such as `Q4_1`."""
    counts: dict[int, int] = {}
    for layout in layouts:
        for tensor in layout.tensors:
            if _MATRIX.fullmatch(tensor.name):
                counts[tensor.kind] = counts.get(tensor.kind, 0) + prod(tensor.shape)
    return TYPES[max(counts, key=counts.__getitem__)][0] if counts else "unknown"


class Measurement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen of one format. Speeds are tokens a second, 0 where nothing was measured; `note` then says why.

    Args:
        prefill: of a prompt of 512 tokens.
        single: of one stream with a short context.
        batch: of 16 streams with short contexts, together.
        kl_nats: mean over the tokens of a fixed text of the KL divergence from the shipped file's distribution.
    """

    format: str
    num_bytes: int
    prefill: float = 0.0
    single: float = 0.0
    batch: float = 0.0
    kl_nats: float | None = None
    note: str = ""


def score(measured: Measurement, shipped: Measurement) -> float:
    """How many times as fast as the shipped file: the geometric mean over prefill, one stream and 16 streams."""
    if not measured.prefill:
        return 0.0
    ratios = (
        measured.prefill / shipped.prefill,
        measured.single / shipped.single,
        measured.batch / shipped.batch,
    )
    return prod(ratios) ** (1 / 3)


def choose(table: Sequence[Measurement], bound_nats: float = BOUND_NATS) -> tuple[str, str]:
    """The format with the best `score` among those within the bound, and why.

    Args:
        table: the shipped file first.
    """
    shipped, *others = table
    scores = {
        each.format: score(each, shipped) for each in others if each.kl_nats is not None and each.kl_nats <= bound_nats
    }
    kl = {each.format: each.kl_nats or 0.0 for each in others}
    best = max(scores, key=scores.__getitem__, default=None)
    if best is not None and scores[best] >= MIN_GAIN:
        return best, (
            f"it is {scores[best]:.2f} times as fast as the shipped file on this machine, and its mean KL divergence "
            f"to it, {kl[best]:.4f} nats, is within {bound_nats:g}"
        )
    if best is not None:
        return SHIPPED, (
            f"no format within {bound_nats:g} nats is faster by {MIN_GAIN - 1:.0%} or more: the best, {best}, is "
            f"{scores[best]:.2f} times as fast"
        )
    return SHIPPED, f"no other format was measured to be within {bound_nats:g} nats of it"
