"""Conversions of weights, with the inference library that is installed."""

import io
import random
from pathlib import Path

import numpy as np
import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.engine.formats import FORMATS, plan, planned_bytes
from mainspring.engine.llama import binding
from mainspring.engine.llama.quantise import Quantiser, rewrite
from mainspring.models.gguf import TYPES, read_header, read_layout
from tests.unit.engine import tiny_llama

F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL = 0, 1, 2, 3, 6, 7, 8, 20


@pytest.fixture(scope="module")
def quantiser() -> Quantiser:
    return Quantiser(binding.load().path, 2)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """64 rows of 96 weights; a block of zeros, one that is constant, and one that is all positive."""
    made = np.random.default_rng(1).normal(0, 0.05, (64, 96)).astype(np.float32)
    made[0, :32], made[1, :32], made[2, :32] = 0, 0.25, np.abs(made[2, :32]) + 1
    return made


def error(quantiser: Quantiser, raw: np.ndarray, kind: int, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.square(quantiser.to_float(raw, kind) - wanted.ravel()).mean()))


def test_the_table_of_types_is_the_librarys(quantiser: Quantiser) -> None:
    assert {kind: quantiser.traits(kind)[1:] for kind in TYPES} == {kind: row[1:] for kind, row in TYPES.items()}
    names = {kind: quantiser.traits(kind)[0].upper() for kind in TYPES}
    assert names == {kind: row[0] for kind, row in TYPES.items()}


# Of normally distributed weights, in the parts of their standard deviation; a format with fewer bits errs more.
@pytest.mark.parametrize(
    ("kind", "least", "most"), [(F16, 0, 5e-4), (Q8_0, 1e-3, 1e-2), (Q4_0, 0.05, 0.15), (IQ4_NL, 0.05, 0.12)]
)
def test_the_error_of_a_format_is_bounded(
    quantiser: Quantiser, values: np.ndarray, kind: int, least: float, most: float
) -> None:
    plain = values[3:]
    raw = quantiser.convert_all(plain.ravel().view(np.uint8), F32, kind, 96)
    _, block, size = TYPES[kind]
    assert raw.size == plain.size // block * size
    assert least <= error(quantiser, raw, kind, plain) / 0.05 <= most


@pytest.mark.parametrize("kind", [Q4_0, Q5_0])
def test_multiples_of_one_step_become_q8_0_without_any_error(
    quantiser: Quantiser, values: np.ndarray, kind: int
) -> None:
    raw = quantiser.from_float(values.ravel(), kind, 96)
    shipped = quantiser.to_float(raw, kind)
    assert error(quantiser, quantiser.convert(raw, kind, Q8_0, 96), Q8_0, shipped) == 0
    assert error(quantiser, quantiser.from_float(shipped, Q8_0, 96), Q8_0, shipped) > 0  # plainly rounded


@pytest.mark.parametrize("kind", [Q4_1, Q5_1])
def test_steps_from_a_minimum_become_q8_0_with_less_error_than_rounding(
    quantiser: Quantiser, values: np.ndarray, kind: int
) -> None:
    raw = quantiser.from_float(values.ravel(), kind, 96)
    shipped = quantiser.to_float(raw, kind)
    kept = quantiser.to_float(quantiser.convert(raw, kind, Q8_0, 96), Q8_0)
    plain = quantiser.to_float(quantiser.from_float(shipped, Q8_0, 96), Q8_0)
    for_each_block = [np.square(made - shipped).reshape(-1, 32).mean(1) ** 0.5 for made in (kept, plain)]
    assert for_each_block[0].mean() < 0.7 * for_each_block[1].mean()
    assert (for_each_block[0] <= for_each_block[1] * (1 + 1e-5)).all()


def test_pieces_on_several_threads_are_the_whole(
    quantiser: Quantiser, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = quantiser.from_float(values.ravel(), Q4_1, 96)
    whole = quantiser.convert(raw, Q4_1, Q8_0, 96)
    for rows in (1, 7, 64):
        monkeypatch.setattr("mainspring.engine.llama.quantise.PIECE", rows * 96)
        assert (quantiser.convert_all(raw, Q4_1, Q8_0, 96) == whole).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(quantiser: Quantiser, bad: float) -> None:
    values = np.full(96, bad, np.float32)
    with pytest.raises(InvalidRequest, match="damaged"):
        quantiser.convert(values.view(np.uint8), F32, Q8_0, 96)


def test_a_rewritten_model_keeps_all_but_the_matrices(quantiser: Quantiser, tmp_path: Path) -> None:
    path = tiny_llama.write_tiny(tmp_path / "tiny.gguf")
    before = read_layout(path)
    out, told = tmp_path / "q8_0.gguf", list[tuple[int, int]]()
    with out.open("wb") as file:
        rewrite([path], FORMATS["q8_0"], file, quantiser, lambda *at: told.append(at))
    after = read_layout(out)
    assert [each.name for each in after.tensors] == [each.name for each in before.tensors]
    assert {each.name for each in after.tensors if each.kind == F32} == {
        each.name for each in before.tensors if "norm" in each.name
    }
    kept = set(before.metadata) - {"general.file_type"}
    assert {key: after.metadata[key] for key in kept} == {key: before.metadata[key] for key in kept}
    assert read_header(out).metadata["general.file_type"] == 7
    assert told[-1][0] == told[-1][1]
    assert 0 < out.stat().st_size - planned_bytes(plan([before], FORMATS["q8_0"])) < 16_000
    one = random.Random(0).choice([each for each in after.tensors if each.kind == Q8_0])
    raw = np.fromfile(out, np.uint8, offset=one.offset, count=np.prod(one.shape) // 32 * 34)
    wanted = tiny_llama.weights()[one.name]
    assert 0 < error(quantiser, raw, Q8_0, wanted) / wanted.std() < 0.01


def test_shards_become_one_file(quantiser: Quantiser, tmp_path: Path) -> None:
    first = tiny_llama.write_tiny(tmp_path / "a-00001-of-00002.gguf", **{"split.count": 2, "split.no": 0})
    second = tiny_llama.write_tiny(tmp_path / "a-00002-of-00002.gguf", seed=1)
    out = io.BytesIO()
    rewrite([first, second], FORMATS["f16"], out, quantiser, lambda *_: None)
    (tmp_path / "whole.gguf").write_bytes(out.getvalue())
    whole = read_layout(tmp_path / "whole.gguf")
    assert len(whole.tensors) == 2 * len(read_layout(first).tensors)
    assert not any(key.startswith("split.") for key in whole.metadata)
