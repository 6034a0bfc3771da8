"""Embedding models of BERT's architecture on ONNX Runtime, from safetensors and a tokenizer.json.

The graph is written here, from ONNX Runtime's fused operators, in 32 bits or with 8-bit matrices: one download serves
both, no exporter is needed, and the vectors are those of sentence-transformers (1e-6 apart in 32 bits). Eight bits
are made from the weights while loading: one scale for each output column, activations scaled when they are computed
(in the feed-forward parts, where some tokens have components 25 times those of others, by token).
Covers `BertModel` with absolute positions, mean or first-token pooling, with or without normalisation.
"""

from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.core.errors import EngineUnavailable
from mainspring.engine.graph import Graph
from mainspring.engine.pool import Frame
from mainspring.models.safetensors import TensorEntry, read_tensors

__all__ = ["Config", "OnnxEmbedder", "Precision", "bert_graph", "quantise"]

Precision = Literal["fp32", "int8"]

Weights = dict[str, NDArray[np.float32]]

INT8_PAIR = 128
"""Without VNNI the 8-bit kernels add the products of two neighbours, of inputs up to 255, in 16 bits: 255 * 128 fits.
So it is the sum of two neighbouring weights of one sign that is bounded, which leaves single ones 1.6 times the steps
that a bound for each of them would (docs/LOG.md)."""


class Config(msgspec.Struct, frozen=True):
    """What is used of `config.json`. The two Matryoshka fields say that vectors may be cut: to any length, or to the
    lengths that were trained."""

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    position_embedding_type: str = "absolute"
    is_matryoshka: bool = False
    matryoshka_dimensions: tuple[int, ...] = ()


class _Pooling(msgspec.Struct, frozen=True):
    """`1_Pooling/config.json` of sentence-transformers."""

    pooling_mode_mean_tokens: bool = True
    pooling_mode_cls_token: bool = False


class _Limits(msgspec.Struct, frozen=True):
    """`sentence_bert_config.json`."""

    max_seq_length: int | None = None


_Settings = TypeVar("_Settings", bound=msgspec.Struct)


class OnnxEmbedder:
    """See `pool.Embedder`.

    Args:
        model: `model.safetensors`, beside which lie `config.json`, `tokenizer.json` and, unless the defaults hold (mean
            pooling, the longest input that there are positions for), sentence-transformers' `pooling.json` and
            `sentence_bert_config.json`.
        threads: compute threads.

    Raises:
        EngineUnavailable: ONNX Runtime or the tokenizer library is missing, or the model is of another architecture.
    """

    def __init__(self, model: Path, precision: Precision, threads: int) -> None:
        try:
            import onnxruntime
            import tokenizers
        except ImportError as error:
            raise EngineUnavailable(
                f"Embedding models need {error.name}, which is not installed: pip install onnxruntime tokenizers."
            ) from error
        folder = model.parent
        config = self._read(folder / "config.json", Config)
        pooling = self._read(folder / "pooling.json", _Pooling)
        limits = self._read(folder / "sentence_bert_config.json", _Limits)
        _check(config, pooling)
        self._first_token = pooling.pooling_mode_cls_token
        self.dimensions = config.hidden_size
        self.context_length = min(
            limits.max_seq_length or config.max_position_embeddings, config.max_position_embeddings
        )
        self.resizable = tuple(config.matryoshka_dimensions) or config.is_matryoshka
        # The libraries' own types are only partly known to a type checker.
        tokenizer = cast("Any", tokenizers).Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._frame = Frame(tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids)
        weights = _load(model)
        self.num_tokens = weights["embeddings.word_embeddings.weight"].shape[0]
        options = cast("Any", onnxruntime).SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin between two requests would take the cores from whoever computes next on this machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads > 1 else "1")
        graph = bert_graph(weights, config, precision)
        del weights
        self._session = cast("Any", onnxruntime).InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @staticmethod
    def _read(path: Path, kind: type[_Settings]) -> _Settings:
        try:
            return msgspec.json.decode(path.read_bytes() if path.exists() else b"{}", type=kind)
        except msgspec.MsgspecError as error:
            raise EngineUnavailable(f"The model's {path.name} is not what it should be: {error}.") from error

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """See `Embedder`."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]

    def framed(self, ids: tuple[int, ...]) -> list[int]:
        """See `Embedder`."""
        return self._frame.around(ids)

    def embed(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """See `Embedder`."""
        lengths = np.array([len(row) for row in rows], np.int32)
        ids = np.zeros((len(rows), int(lengths.max())), np.int32)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
        states: NDArray[np.float32] = self._session.run(["states"], {"ids": ids, "lengths": lengths})[0]
        if self._first_token:
            pooled = states[:, 0]
        else:
            inside = np.arange(ids.shape[1]) < lengths[:, None]
            pooled = np.einsum("bsh,bs->bh", states, inside.astype(np.float32)) / lengths[:, None].astype(np.float32)
        return pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)


def _check(config: Config, pooling: _Pooling) -> None:
    wrong = (
        f"model_type {config.model_type!r}" if config.model_type != "bert"
        else f"hidden_act {config.hidden_act!r}" if config.hidden_act != "gelu"
        else f"{config.position_embedding_type} positions" if config.position_embedding_type != "absolute"
        else "another pooling" if pooling.pooling_mode_mean_tokens == pooling.pooling_mode_cls_token
        else ""
    )  # fmt: skip
    if wrong:
        raise EngineUnavailable(
            f"This embedding model has {wrong}: from safetensors, models of type bert with gelu, absolute positions "
            "and mean or first-token pooling are served. A GGUF file of the model may be."
        )


def _load(path: Path) -> Weights:
    """The file's floating-point tensors in 32 bits; a prefix `bert.` is dropped from their names."""
    entries = {name.removeprefix("bert."): entry for name, entry in read_tensors(path).items()}
    data = np.memmap(path, np.uint8, "r")
    return {name: _array(data, entry) for name, entry in entries.items() if entry.dtype in ("F32", "F16", "BF16")}


def _array(data: NDArray[np.uint8], entry: TensorEntry) -> NDArray[np.float32]:
    raw = data[entry.begin : entry.end]
    if entry.dtype == "BF16":  # the upper half of a float32
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)
    values = raw.view("<f4" if entry.dtype == "F32" else "<f2")
    return values.astype(np.float32).reshape(entry.shape)


def bert_graph(weights: Weights, config: Config, precision: Precision) -> bytes:
    """The model as ONNX: `ids` int32 (batch, length) padded on the right and `lengths` int32 (batch) in, `states`
    float32 (batch, length, hidden) out.

    Raises:
        EngineUnavailable: a tensor is missing.
    """
    try:
        return _Bert(weights, config, precision).graph.encode()
    except KeyError as error:
        raise EngineUnavailable(f"The model has no tensor {error}: it is no BERT model.") from error


class _Bert:
    """The graph of one model."""

    def __init__(self, weights: Weights, config: Config, precision: Precision) -> None:
        self._weights, self._config, self._int8 = weights, config, precision == "int8"
        self.graph = Graph()
        self.graph.input("ids", "int32", ("batch", "length"))
        lengths = self.graph.input("lengths", "int32", ("batch",))
        states = self._embeddings()
        for layer in range(config.num_hidden_layers):
            states = self._layer(states, lengths, f"encoder.layer.{layer}.")
        self.graph.node("Identity", [states], names=["states"], domain="")
        self.graph.output("states", "float32", ("batch", "length", config.hidden_size))

    def _tensor(self, name: str) -> str:
        return self.graph.tensor(name, self._weights[name])

    def _norm(self, prefix: str) -> list[str]:
        return [self._tensor(f"{prefix}LayerNorm.weight"), self._tensor(f"{prefix}LayerNorm.bias")]

    def _embeddings(self) -> str:
        prefix = "embeddings."
        # One text has one segment, so its embedding is added to the positions once and for all.
        positions = self._weights[f"{prefix}position_embeddings.weight"]
        positions = positions + self._weights[f"{prefix}token_type_embeddings.weight"][0]
        words = self._tensor(f"{prefix}word_embeddings.weight")
        inputs = ["ids", "", words, self.graph.tensor("positions", positions), "", *self._norm(prefix)]
        epsilon = self._config.layer_norm_eps
        return self.graph.node("EmbedLayerNormalization", inputs, outputs=2, epsilon=epsilon)[0]

    def _layer(self, states: str, lengths: str, prefix: str) -> str:
        attended = self._attention(states, lengths, f"{prefix}attention.")
        wide = self._matmul(attended, f"{prefix}intermediate.dense.weight", by_token=True)
        wide = self.graph.node("BiasGelu", [wide, self._tensor(f"{prefix}intermediate.dense.bias")])[0]
        return self._projected(wide, attended, f"{prefix}output.", by_token=True)

    def _attention(self, states: str, lengths: str, prefix: str) -> str:
        parts = [f"{prefix}self.{part}." for part in ("query", "key", "value")]
        weight = np.concatenate([self._weights[f"{part}weight"].T for part in parts], axis=1)  # (hidden, 3 hidden)
        bias = self.graph.tensor(f"{prefix}bias", np.concatenate([self._weights[f"{part}bias"] for part in parts]))
        heads = self._config.num_attention_heads
        if not self._int8:
            inputs = [states, self.graph.tensor(f"{prefix}weight", weight), bias, lengths]
            mixed = self.graph.node("Attention", inputs, num_heads=heads)[0]
        else:
            data, scale, zero = self.graph.node("DynamicQuantizeLinear", [states], outputs=3, domain="")
            matrix, scales, zeros = self._quantised(f"{prefix}weight", weight)
            inputs = [data, matrix, bias, scale, scales, lengths, zero, zeros]
            mixed = self.graph.node("QAttention", inputs, num_heads=heads)[0]
        return self._projected(mixed, states, f"{prefix}output.", by_token=False)

    def _projected(self, inside: str, around: str, prefix: str, *, by_token: bool) -> str:
        """Project, add bias and what went around, normalise."""
        narrow = self._matmul(inside, f"{prefix}dense.weight", by_token=by_token)
        inputs = [narrow, around, *self._norm(prefix), self._tensor(f"{prefix}dense.bias")]
        return self.graph.node("SkipLayerNormalization", inputs, epsilon=self._config.layer_norm_eps)[0]

    def _matmul(self, states: str, name: str, *, by_token: bool) -> str:
        """A product; in 8 bits with one scale for all activations, or with `by_token` one for each token."""
        weight = self._weights[name].T  # PyTorch keeps (out, in)
        node = self.graph.node
        if not self._int8:
            return node("MatMul", [states, self.graph.tensor(name, weight)], domain="")[0]
        matrix, scales, zeros = self._quantised(name, weight)
        if not by_token:
            return node("DynamicQuantizeMatMul", [states, matrix, scales, zeros])[0]
        size = node("Abs", [states], domain="")[0]
        size = node("ReduceMax", [size], domain="", axes=(2,))[0]
        size = node("Max", [size, self.graph.tensor(f"{name}.least", np.array([1e-12], np.float32))], domain="")[0]
        states = node("Div", [states, size], domain="")[0]
        product = node("DynamicQuantizeMatMul", [states, matrix, scales, zeros])[0]
        return node("Mul", [product, size], domain="")[0]

    def _quantised(self, name: str, weight: NDArray[np.float32]) -> tuple[str, str, str]:
        """A matrix in 8 bits with one scale for each column; the names of data, scales and zero points."""
        data, scales = quantise(weight)
        return (
            self.graph.tensor(name, data),
            self.graph.tensor(f"{name}.scales", scales),
            self.graph.tensor(f"{name}.zeros", np.zeros(len(scales), np.int8)),
        )


def quantise(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix (in, out) in 8 bits, and the scale of each column. No two neighbours overflow: see `INT8_PAIR`."""
    pairs = np.pad(weight, ((0, len(weight) % 2), (0, 0))).reshape(-1, 2, weight.shape[1])
    sums = np.maximum(np.maximum(pairs, 0).sum(axis=1), np.maximum(-pairs, 0).sum(axis=1))
    # Each of the two may be rounded up by a half, hence the 1.
    scales = np.maximum(sums.max(axis=0) / (INT8_PAIR - 1), np.abs(weight).max(axis=0) / 127)
    scales = np.maximum(scales, 1e-12).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales
