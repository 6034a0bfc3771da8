"""An embedding model small enough to make in a test, and the same model in numpy to hold it against."""

import json
import math
import struct
from pathlib import Path

import numpy as np

HIDDEN, HEADS, LAYERS, WIDE, POSITIONS = 32, 4, 2, 64, 24
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(ord("a"), ord("z") + 1))]


def weights(seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(0, 0.3, shape).astype(np.float32)

    made = {
        "embeddings.word_embeddings.weight": draw(len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": draw(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": draw(2, HIDDEN),
        "embeddings.LayerNorm.weight": 1 + draw(HIDDEN),
        "embeddings.LayerNorm.bias": draw(HIDDEN),
    }
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        for name, (out, inside) in {
            "attention.self.query": (HIDDEN, HIDDEN),
            "attention.self.key": (HIDDEN, HIDDEN),
            "attention.self.value": (HIDDEN, HIDDEN),
            "attention.output.dense": (HIDDEN, HIDDEN),
            "intermediate.dense": (WIDE, HIDDEN),
            "output.dense": (HIDDEN, WIDE),
        }.items():
            made[f"{prefix}{name}.weight"], made[f"{prefix}{name}.bias"] = draw(out, inside), draw(out)
        for name in ("attention.output", "output"):
            made[f"{prefix}{name}.LayerNorm.weight"] = 1 + draw(HIDDEN)
            made[f"{prefix}{name}.LayerNorm.bias"] = draw(HIDDEN)
    return made


def safetensors(tensors):
    header, data = {}, b""
    for name, value in tensors.items():
        raw = value.tobytes()
        dtype = {"float32": "F32", "float16": "F16", "int64": "I64"}[value.dtype.name]
        header[name] = {
            "dtype": dtype, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]
        }  # fmt: skip
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + data


def tokenizer():
    special = {"[CLS]": 2, "[SEP]": 3}
    return {
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in special.items()},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    }


def write(folder: Path, *, cls=False, seed=0, **config) -> Path:
    """The folder, filled; `config` are changes of config.json."""
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors(weights(seed)))
    described = {
        "model_type": "bert",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": POSITIONS,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    pooling = json.dumps({"pooling_mode_mean_tokens": not cls, "pooling_mode_cls_token": cls})
    for name in ("1_Pooling/config.json", "pooling.json"):  # as sentence-transformers and as the catalog keep it
        (folder / name).write_text(pooling)
    return folder


def expected(ids, *, cls=False, seed=0):
    """The vector of one row of tokens, from the equations."""
    w = weights(seed)

    def norm(x, prefix):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * w[f"{prefix}LayerNorm.weight"] + w[f"{prefix}LayerNorm.bias"]

    def dense(x, prefix):
        return x @ w[f"{prefix}.weight"].T + w[f"{prefix}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.")
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        q, k, v = (dense(x, f"{p}attention.self.{n}").reshape(len(ids), HEADS, -1) for n in ("query", "key", "value"))
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(HIDDEN // HEADS)
        weighed = np.exp(scores - scores.max(-1, keepdims=True))
        weighed /= weighed.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", weighed, v).reshape(len(ids), HIDDEN)
        x = norm(dense(mixed, f"{p}attention.output.dense") + x, f"{p}attention.output.")
        wide = dense(x, f"{p}intermediate.dense")
        wide = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        x = norm(dense(wide, f"{p}output.dense") + x, f"{p}output.")
    pooled = x[0] if cls else x.mean(0)
    return pooled / np.linalg.norm(pooled)
