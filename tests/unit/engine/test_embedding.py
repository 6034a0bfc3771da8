"""Embeddings below the API: batching, checks, BERT on ONNX Runtime, pooling in llama.cpp."""

import base64
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.config import EngineSettings
from mainspring.core.errors import ContextLengthExceeded, EngineUnavailable, InvalidRequest
from mainspring.core.types import EmbedRequest
from mainspring.engine.graph import Graph
from mainspring.engine.onnx import OnnxEmbedder, quantise
from mainspring.engine.pool import Frame, Job, Pool, prepare
from tests.unit.engine import tiny_bert

VECTORS = Path(__file__).parents[2] / "data" / "minilm_vectors.json"


def job(name, lengths, dimensions=2):
    return Job(id=name, rows=[[7] * length for length in lengths], deadline=0.0, dimensions=dimensions)


def ask(*inputs, **fields):
    return EmbedRequest(id="r", model="tiny", inputs=inputs, **fields)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> OnnxEmbedder:
    folder = tiny_bert.write(tmp_path_factory.mktemp("tiny"))
    return OnnxEmbedder(folder / "model.safetensors", "fp32", 1)


# -- what is computed together ---


@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=6), st.integers(1, 60))
def test_every_input_is_computed_once_within_the_budget(requests, budget):
    pool = Pool(budget)
    jobs = [job(str(at), lengths) for at, lengths in enumerate(requests)]
    for each in jobs:
        pool.add(each)
    seen = set()
    while pool.jobs:
        pool.check_integrity()
        batch = pool.take()
        assert batch
        longest = max(len(each.rows[row]) for each, row in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
        new = {(each.id, row) for each, row in batch}
        assert len(new) == len(batch)
        assert not new & seen
        seen |= new
    pool.check_integrity()
    assert seen == {(each.id, row) for each in jobs for row in range(len(each.rows))}


def test_small_requests_are_computed_together():
    pool = Pool(64)
    for name in "abc":
        pool.add(job(name, [8]))
    assert {each.id for each, _ in pool.take()} == {"a", "b", "c"}


def test_a_large_request_does_not_hold_up_a_small_one():
    pool = Pool(64)
    pool.add(job("large", [60] * 100))
    pool.take()
    pool.add(job("small", [4]))
    assert "small" in {each.id for _ in range(2) for each, _ in pool.take()}


def test_what_is_patient_waits_until_nobody_else_does(tiny):
    pool = Pool(64)
    for at in range(20):
        patient = job(f"batch{at}", [60] * 5)
        patient.is_patient = True
        pool.add(patient)
    pool.take()
    pool.add(job("now", [60, 60]))
    assert [{each.id for each, _ in pool.take()} for _ in range(2)] == [{"now"}] * 2
    assert pool.take()
    pool.check_integrity()
    assert prepare(ask("a b", tier="batch"), tiny, 0.0).is_patient
    assert not prepare(ask("a b"), tiny, 0.0).is_patient


def test_lengths_are_not_mixed_when_there_is_a_choice():
    pool = Pool(64)
    pool.add(job("r", [60, 3, 60, 4, 3]))
    widths = [sorted(len(each.rows[row]) for each, row in pool.take()) for _ in range(3)]
    assert widths == [[60], [60], [3, 3, 4]]


def test_a_request_that_is_removed_leaves_nothing():
    pool = Pool(16)
    first, second = job("a", [8] * 5), job("b", [8])
    pool.add(first)
    pool.add(second)
    pool.take()
    pool.remove(first)
    pool.check_integrity()
    assert pool.jobs in ([second], [])


# -- checks ---


def test_special_tokens_are_put_around_tokens_once():
    frame = Frame([7], [2, 7, 3])
    assert frame.around((5, 6)) == [2, 5, 6, 3]
    assert frame.around((2, 5, 6, 3)) == [2, 5, 6, 3]
    assert Frame([7], [7]).around((5,)) == [5]
    assert Frame([7], [1, 7]).around((5,)) == [1, 5]


def test_texts_and_their_tokens_are_the_same_input(tiny):
    by_text = prepare(ask("a b c"), tiny, 0.0)
    by_tokens = prepare(ask((4, 5, 6)), tiny, 0.0)
    assert by_text.rows == by_tokens.rows == [[2, 4, 5, 6, 3]]
    assert by_text.deadline == float("inf")
    assert prepare(ask("a", deadline_s=2.0), tiny, 10.0).deadline == 12.0


def test_too_long_is_an_error_and_the_tokenizer_s_own_truncation_is_off(tiny):
    assert len(prepare(ask("a " * 14), tiny, 0.0).rows[0]) == 16
    with pytest.raises(ContextLengthExceeded, match="input number 1 has 17 tokens"):
        prepare(ask("a", "a " * 15), tiny, 0.0)
    with pytest.raises(ContextLengthExceeded, match="at least"):
        prepare(ask("a" * 5000), tiny, 0.0)
    with pytest.raises(ContextLengthExceeded):
        prepare(ask(tuple([5] * 15)), tiny, 0.0)


def test_unknown_tokens_are_refused(tiny):
    with pytest.raises(InvalidRequest, match="Token 30 does not exist") as caught:
        prepare(ask((4, 30)), tiny, 0.0)
    assert caught.value.param == "input"


def test_half_a_surrogate_is_embedded_like_any_unknown_character(tiny):
    assert len(prepare(ask("\ud800"), tiny, 0.0).rows[0]) == 3


@pytest.mark.parametrize("resizable", [False, True, (8, 16)])
def test_dimensions_are_what_the_model_was_trained_for(tmp_path, resizable):
    config = {"matryoshka_dimensions": resizable} if isinstance(resizable, tuple) else {"is_matryoshka": resizable}
    model = OnnxEmbedder(tiny_bert.write(tmp_path, **config) / "model.safetensors", "fp32", 1)
    assert prepare(ask("a"), model, 0.0).dimensions == 32
    assert prepare(ask("a", dimensions=32), model, 0.0).dimensions == 32
    for wanted, allowed in ((8, bool(resizable)), (9, resizable is True), (33, False)):
        if allowed:
            cut = prepare(ask("a", dimensions=wanted), model, 0.0)
            cut.put(0, model.embed(cut.rows)[0])
            whole = tiny_bert.expected(cut.rows[0])[:wanted]
            vector = np.frombuffer(cut.result().vectors, "<f4")
            assert np.abs(vector - whole / np.linalg.norm(whole)).max() < 1e-5
        else:
            with pytest.raises(InvalidRequest) as caught:
                prepare(ask("a", dimensions=wanted), model, 0.0)
            assert caught.value.param == "dimensions"


# -- BERT on ONNX Runtime ---


@pytest.mark.parametrize("cls", [False, True])
def test_vectors_are_what_the_equations_say_padded_or_not(tmp_path, cls):
    model = OnnxEmbedder(tiny_bert.write(tmp_path, cls=cls) / "model.safetensors", "fp32", 1)
    rows = model.tokenize(["a", "b c d e", "x y z x y z x y z x y"])
    together = model.embed(rows)
    for row, vector in zip(rows, together, strict=True):
        assert np.abs(vector - tiny_bert.expected(row, cls=cls)).max() < 1e-5
        assert np.abs(model.embed([row])[0] - vector).max() < 1e-5


def test_eight_bits_point_the_same_way(tmp_path):
    model = OnnxEmbedder(tiny_bert.write(tmp_path) / "model.safetensors", "int8", 1)
    rows = model.tokenize(["a", "b c d e", "x y z x y z"])
    for row, vector in zip(rows, model.embed(rows), strict=True):
        assert vector @ tiny_bert.expected(row) > 0.99


@given(st.integers(1, 70), st.integers(0, 2**32 - 1), st.floats(0, 60))
def test_eight_bits_never_overflow(rows, seed, outlier):
    draw = np.random.default_rng(seed)
    weight = draw.standard_normal((rows, 5), np.float32)
    weight[draw.integers(rows), 0] *= outlier
    data, scales = quantise(weight)
    assert np.abs(data * scales - weight).max(0) == pytest.approx(0, abs=float(scales.max()) * 0.501)
    pairs = np.pad(data.astype(int), ((0, rows % 2), (0, 0))).reshape(-1, 2, 5)
    assert max(np.maximum(pairs, 0).sum(1).max(), np.maximum(-pairs, 0).sum(1).max()) <= 128
    # On a processor without VNNI (or `qemu-x86_64 -cpu Haswell`) this is where a larger sum would be seen.
    graph = Graph()
    inputs = [graph.input("x", "uint8", ("n", "k")), graph.tensor("w", data)]
    graph.output(graph.node("MatMulInteger", inputs, names=["y"], domain="")[0], "int32", ("n", 5))
    session = onnxruntime.InferenceSession(graph.encode(), providers=["CPUExecutionProvider"])
    # The largest inputs where the weights are of one sign: the sums that saturate first.
    x = np.stack([np.full(rows, 255), np.where(data[:, 0] > 0, 255, 0), np.where(data[:, 1] < 0, 255, 0)])
    assert np.array_equal(session.run(["y"], {"x": x.astype(np.uint8)})[0], x @ data.astype(int))


def test_half_precision_weights_are_read(tmp_path):
    folder = tiny_bert.write(tmp_path)
    halved = {f"bert.{name}": value.astype(np.float16) for name, value in tiny_bert.weights().items()}
    (folder / "model.safetensors").write_bytes(tiny_bert.safetensors(halved))
    model = OnnxEmbedder(folder / "model.safetensors", "fp32", 1)
    row = [2, 4, 5, 3]
    assert np.abs(model.embed([row])[0] - tiny_bert.expected(row)).max() < 1e-2


@pytest.mark.parametrize("changed", [{"model_type": "roberta"}, {"hidden_act": "relu"}, {"num_hidden_layers": 3}])
def test_another_architecture_is_refused_by_name(tmp_path, changed):
    folder = tiny_bert.write(tmp_path, **changed)
    with pytest.raises(EngineUnavailable, match=r"roberta|relu|encoder\.layer\.2"):
        OnnxEmbedder(folder / "model.safetensors", "fp32", 1)


@pytest.mark.model
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_minilm_gives_the_vectors_of_sentence_transformers(embedding_folder, precision):
    model = OnnxEmbedder(embedding_folder / "model.safetensors", precision, 1)
    cases = json.loads(VECTORS.read_text("utf-8"))
    expected = np.array([np.frombuffer(base64.b64decode(case["vector"]), "<f4") for case in cases])
    rows = model.tokenize([case["text"] for case in cases])
    assert [len(row) for row in rows] == [case["num_tokens"] for case in cases]
    vectors = model.embed(rows)
    if precision == "fp32":
        assert np.abs(vectors - expected).max() < 1e-4
    else:
        assert (vectors * expected).sum(1).min() > 0.99


@pytest.mark.model
def test_llama_cpp_pools_each_input_by_itself(model_file):
    from mainspring.engine.llama.embedder import POOLING_MEAN, LlamaEmbedder

    settings = EngineSettings(threads=1, context_tokens=256)
    with pytest.raises(EngineUnavailable, match="no way of pooling"):
        LlamaEmbedder(model_file, settings)
    model = LlamaEmbedder(model_file, settings, POOLING_MEAN)
    rows = model.tokenize(["hello", "a cat sat on the mat"] * 40)  # more than llama.cpp takes at once
    together = model.embed(rows)
    assert together.shape == (80, 576)
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5
    for at in (0, 1):  # 4-bit weights: how many rows are computed together changes the rounding
        assert (together[at::2] @ model.embed([rows[at]])[0]).min() > 0.999
    assert together[0] @ together[1] < 0.99
