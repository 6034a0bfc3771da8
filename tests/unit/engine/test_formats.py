from typing import get_args

import pytest

from mainspring.core.config import WeightsFormat
from mainspring.engine.formats import (
    BOUND_NATS,
    FORMATS,
    SHIPPED,
    Measurement,
    choose,
    describe,
    plan,
    planned_bytes,
    score,
)  # fmt: skip
from mainspring.models.gguf import TYPES, Layout, Tensor

KINDS = {name: kind for kind, (name, *_) in TYPES.items()}


def measured(name: str, prefill: float, single: float, batch: float, kl: float | None = 0.001) -> Measurement:
    return Measurement(format=name, num_bytes=1, prefill=prefill, single=single, batch=batch, kl_nats=kl)


SHIPPED_SPEEDS = measured(SHIPPED, 200, 100, 150, 0.0)


def test_every_setting_is_a_format() -> None:
    assert set(get_args(WeightsFormat)) == {"auto", SHIPPED, *FORMATS}


def test_the_fastest_within_the_bound_is_chosen() -> None:
    table = [
        SHIPPED_SPEEDS,
        measured("q8_0", 400, 90, 200, 0.004),
        measured("q4_0", 800, 200, 400, BOUND_NATS + 1e-6),
        measured("f16", 300, 60, 160, 0.0),
    ]
    name, reason = choose(table)
    assert name == "q8_0"
    assert "1.34 times" in reason
    assert "0.0040 nats" in reason
    assert choose(table, 0.01)[0] == "q4_0"
    assert choose(table, 0.001)[0] == SHIPPED  # f16 is slower: the cube root of 1.5 x 0.6 x 1.07 is 0.99


def test_a_gain_that_is_not_worth_a_file_is_not_taken() -> None:
    name, reason = choose([SHIPPED_SPEEDS, measured("q8_0", 205, 102, 155)])
    assert name == SHIPPED
    assert "1.03 times" in reason


def test_what_was_not_measured_is_not_chosen() -> None:
    skipped = Measurement(format="f16", num_bytes=1, note="too large")
    untimed = Measurement(format="q4_0", num_bytes=1, kl_nats=0.0)
    assert choose([SHIPPED_SPEEDS, skipped, untimed])[0] == SHIPPED
    assert score(untimed, SHIPPED_SPEEDS) == 0


def test_the_score_is_the_geometric_mean() -> None:
    assert score(measured("x", 400, 50, 150), SHIPPED_SPEEDS) == pytest.approx(1)
    assert score(measured("x", 1600, 100, 150), SHIPPED_SPEEDS) == pytest.approx(2)


def layout(**shapes: tuple[str, tuple[int, ...]]) -> Layout:
    return Layout({}, tuple(Tensor(name=name, kind=KINDS[kind], shape=shape) for name, (kind, shape) in shapes.items()))


TENSORS = layout(**{
    "token_embd.weight": ("F16", (64, 100)),
    "output.weight": ("Q6_K", (256, 100)),
    "output_norm.weight": ("F32", (64,)),
    "blk.0.attn_norm.weight": ("F32", (64,)),
    "blk.0.attn_q.weight": ("Q4_1", (64, 64)),
    "blk.0.attn_q.bias": ("F32", (64,)),
    "blk.0.ffn_up.weight": ("Q4_1", (64, 96)),
    "blk.0.ffn_down.weight": ("Q4_1", (96, 64)),
    "blk.0.ffn_gate_inp.weight": ("F32", (64, 4)),
    "blk.0.ffn_gate_exps.weight": ("Q4_1", (64, 96, 4)),
    "blk.0.ssm_conv1d.weight": ("F32", (4, 64)),
    "blk.0.ffn_gate.weight": ("F16", (48, 96)),
})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("q8_0", {"token_embd": "Q8_0", "attn_q": "Q8_0", "ffn_up": "Q8_0", "ffn_down": "Q8_0", "exps": "Q8_0"}),
        ("q4_0", {"token_embd": "Q8_0", "attn_q": "Q4_0", "ffn_up": "Q4_0", "ffn_down": "Q4_0", "exps": "Q4_0"}),
        ("mixed", {"token_embd": "Q8_0", "attn_q": "Q8_0", "ffn_up": "Q4_0", "ffn_down": "Q8_0", "exps": "Q4_0"}),
        ("f16", {"attn_q": "F16", "ffn_up": "F16", "ffn_down": "F16", "exps": "F16"}),
    ],
)
def test_only_matrices_change_and_only_where_rows_are_whole_blocks(name: str, changed: dict[str, str]) -> None:
    for tensor, kind in plan([TENSORS], FORMATS[name]):
        wanted = next((into for part, into in changed.items() if f"{part}.weight" in tensor.name), None)
        if tensor.name.startswith("blk") and "exps" in tensor.name:
            wanted = changed["exps"]
        assert TYPES[kind][0] == (wanted or TYPES[tensor.kind][0]), tensor.name


def test_the_size_is_known_before_anything_is_written() -> None:
    one = layout(**{"blk.0.ffn_up.weight": ("F32", (64, 96)), "blk.0.ffn_norm.weight": ("F32", (64,))})
    assert planned_bytes(plan([one, one], FORMATS["q8_0"])) == 2 * (64 * 96 // 32 * 34 + 64 * 4)


def test_a_file_is_called_what_most_of_its_matrices_are() -> None:
    assert describe([TENSORS]) == "Q4_1"
    assert describe([Layout({}, ())]) == "unknown"
