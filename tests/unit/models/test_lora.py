"""Adapters: what may enter the catalog, and that PEFT's do in GGUF what they do to the weights themselves."""

import json
import math

import numpy as np
import pytest

from mainspring.core.config import EngineSettings
from mainspring.core.errors import EngineUnavailable, InvalidRequest, UserMistake
from mainspring.core.types import Adapter, Sampling, Token, TokenPrompt
from mainspring.engine.llama.backend import LlamaBackend
from mainspring.models import gguf
from mainspring.models.catalog import Catalog
from mainspring.models.gguf import Tensor
from tests.unit.engine import tiny_bert
from tests.unit.engine.test_engine import Bench
from tests.unit.engine.tiny_llama import HEADS, HIDDEN, LAYERS, METADATA, WIDE, entry, weights, write_tiny

RANK = 4
PROJECTIONS = {
    "self_attn.q_proj": ("attn_q", HIDDEN, HIDDEN),
    "self_attn.k_proj": ("attn_k", HIDDEN, HIDDEN),
    "self_attn.v_proj": ("attn_v", HIDDEN, HIDDEN),
    "self_attn.o_proj": ("attn_output", HIDDEN, HIDDEN),
    "mlp.gate_proj": ("ffn_gate", WIDE, HIDDEN),
    "mlp.up_proj": ("ffn_up", WIDE, HIDDEN),
    "mlp.down_proj": ("ffn_down", HIDDEN, WIDE),
}
PROMPT = TokenPrompt(tuple(range(20, 60)))


def in_pairs(rows):
    """Query and key rows as GGUF has them, written out: of each head, components i and i + half side by side."""
    each = len(rows) // HEADS
    order = [head * each + half * each // 2 + at for head in range(HEADS) for at in range(each // 2) for half in (0, 1)]
    return rows[order]


def peft(folder, *, dtype=np.float32, tensors=None, **config):
    """An adapter as PEFT writes it; the change of each weight by its name in GGUF."""
    rng = np.random.default_rng(7)
    stored, changes = {}, {}
    for layer in range(LAYERS):
        for module, (name, rows, columns) in PROJECTIONS.items():
            a = rng.normal(0, 0.3, (RANK, columns)).astype(dtype)
            b = rng.normal(0, 0.3, (rows, RANK)).astype(dtype)
            place = f"base_model.model.model.layers.{layer}.{module}"
            stored |= {f"{place}.lora_A.weight": a, f"{place}.lora_B.weight": b}
            change = b.astype(np.float32) @ a.astype(np.float32)
            changes[f"blk.{layer}.{name}.weight"] = in_pairs(change) if name in ("attn_q", "attn_k") else change
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(tiny_bert.safetensors({**stored, **(tensors or {})}))
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "base_model_name_or_path": "org/Tiny", **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return changes


def merged(path, changes, scale):
    made = weights()
    for name, change in changes.items():
        made[name] = made[name] + np.float32(scale) * change
    tensors = [Tensor(name=name, shape=values.shape[::-1], kind=0) for name, values in made.items()]
    with path.open("wb") as file:
        gguf.write(
            file, {key: entry(key, value) for key, value in METADATA.items()}, tensors,
            [values.astype(np.float32).tobytes() for values in made.values()],
        )  # fmt: skip
    return path


def logprobs(path, adapter=None):
    bench = Bench(LlamaBackend(path, EngineSettings(kv_tokens=1024, threads=1, flash_attention=False)))
    bench.add("e", PROMPT, echo=True, max_tokens=1, sampling=Sampling(temperature=0, logprobs=3), adapter=adapter)
    bench.run()
    bench.backend.close()
    said = [one for event in bench.outputs["e"] if isinstance(event, Token) for one in event.logprobs]
    return np.array([one.logprob for one in said[1:]])


@pytest.fixture
def catalog(tmp_path):
    catalog = Catalog(tmp_path / "models")
    catalog.pull(f"file:{write_tiny(tmp_path / 'tiny.gguf')}")
    return catalog


def adapter_of(catalog, version):
    return Adapter(version.id, str(catalog.path(version)))


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 8 / RANK),
        ({"use_rslora": True}, 8 / math.sqrt(RANK)),
        ({"alpha_pattern": {"q_proj": 8, "mlp.up_proj": 8}}, 8 / RANK),
    ],
)
def test_an_adapter_does_what_it_would_do_to_the_weights(catalog, tmp_path, config, scale):
    changes = peft(tmp_path / "pirate", **config)
    version = catalog.pull(f"file:{tmp_path / 'pirate'}")
    assert (version.name, version.is_adapter, version.kind) == ("pirate", True, "completion")
    assert version.base == catalog.get("tiny").id
    base = catalog.path(catalog.get("tiny"))
    plain, adapted = logprobs(base), logprobs(base, adapter_of(catalog, version))
    expected = logprobs(merged(tmp_path / "merged.gguf", changes, scale))
    assert np.abs(adapted - expected).max() < 0.01
    assert np.abs(plain - expected).max() > 0.1


def test_each_modules_own_alpha_counts(catalog, tmp_path):
    changes = peft(tmp_path / "a", alpha_pattern={"down_proj": 2}, rank_pattern={})
    version = catalog.pull(f"file:{tmp_path / 'a'}")
    changes = {name: change / 4 if "ffn_down" in name else change for name, change in changes.items()}
    expected = logprobs(merged(tmp_path / "merged.gguf", changes, 8 / RANK))
    got = logprobs(catalog.path(catalog.get("tiny")), adapter_of(catalog, version))
    assert np.abs(got - expected).max() < 0.01


def test_sixteen_bits_are_read(catalog, tmp_path):
    changes = peft(tmp_path / "half", dtype=np.float16)
    version = catalog.pull(f"file:{tmp_path / 'half'}")
    expected = logprobs(merged(tmp_path / "merged.gguf", changes, 8 / RANK))
    got = logprobs(catalog.path(catalog.get("tiny")), adapter_of(catalog, version))
    assert np.abs(got - expected).max() < 0.01


def test_gguf_is_taken_as_it_is_and_equal_to_what_is_made_of_peft(catalog, tmp_path):
    peft(tmp_path / "a")
    made = catalog.path(catalog.pull(f"file:{tmp_path / 'a'}"))
    copy = tmp_path / "shared-adapter.gguf"
    copy.write_bytes(made.read_bytes())
    with pytest.raises(UserMistake, match="--base"):
        catalog.pull(f"file:{copy}")
    version = catalog.pull(f"file:{copy}", base="tiny", name="b")
    assert version.is_adapter
    assert [file.path for file in version.files] == ["shared-adapter.gguf"]


def test_pulled_again_only_when_it_has_changed(catalog, tmp_path):
    peft(tmp_path / "a")
    first = catalog.ensure(f"file:{tmp_path / 'a'}")
    assert catalog.ensure(f"file:{tmp_path / 'a'}") == first
    again = "model.layers.0.mlp.up_proj.lora_{}.weight"
    twice = {again.format("A"): np.ones((2, HIDDEN), "f4"), again.format("B"): np.ones((WIDE, 2), "f4")}
    peft(tmp_path / "a", lora_alpha=9, tensors=twice)
    with pytest.raises(UserMistake, match="twice"):  # it is looked at again, and now it has one name twice
        catalog.ensure(f"file:{tmp_path / 'a'}")


REFUSED = [
    ({"use_dora": True}, "use_dora"),
    ({"bias": "all"}, "bias"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"peft_type": "IA3"}, "IA3"),
    ({"r": 0}, "r 0"),
    ({"lora_alpha": 0}, "lora_alpha 0"),  # which the library would take for 1
    ({"alpha_pattern": {".*(a+)+$": 3}}, "regular expression"),
    ({"tensors": {"base_model.model.model.layers.0.conv.lora_A.weight": np.ones((4, 4), "f4")}}, "conv"),
    ({"tensors": {"model.layers.9.mlp.up_proj.lora_A.weight": np.ones((4, HIDDEN), "f4"),
                  "model.layers.9.mlp.up_proj.lora_B.weight": np.ones((WIDE, 4), "f4")}}, "does not have"),
    ({"tensors": {"lm_head.lora_A.weight": np.ones((4, HIDDEN), "f4")}}, "pair"),
    ({"tensors": {"model.embed_tokens.lora_embedding_A": np.ones((4, 9), "f4"),
                  "model.embed_tokens.lora_embedding_B": np.ones((HIDDEN, 4), "f4")}}, "fit"),
    ({"tensors": {"x.lora_A.weight": np.full((4, 4), np.nan, "f4")}}, "x.lora_A"),
    ({"base_model_name_or_path": "org/Other"}, "org/Other"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), REFUSED)
def test_what_cannot_be_served_is_refused_by_name(catalog, tmp_path, changes, said):
    peft(tmp_path / "a", **changes)
    with pytest.raises(UserMistake, match=said):
        catalog.pull(f"file:{tmp_path / 'a'}")
    assert [version.name for version in catalog.list()] == ["tiny"]


def test_weights_that_are_no_numbers_are_refused(catalog, tmp_path):
    place = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    peft(tmp_path / "a", tensors={place: np.full((RANK, HIDDEN), np.nan, "f4")})
    with pytest.raises(InvalidRequest, match="finite"):
        catalog.pull(f"file:{tmp_path / 'a'}")


def gguf_adapter(path, tensors=None, **changes):
    pair = {"blk.0.attn_q.weight.lora_a": (HIDDEN, 4), "blk.0.attn_q.weight.lora_b": (4, HIDDEN)}
    shapes = pair if tensors is None else tensors
    metadata = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora",
                "adapter.lora.alpha": 8.0, **changes}  # fmt: skip
    with path.open("wb") as file:
        gguf.write(
            file,
            {key: entry(key, value) for key, value in metadata.items() if value is not None},
            [Tensor(name=name, shape=shape, kind=0) for name, shape in shapes.items()],
            [bytes(4 * math.prod(shape)) for shape in shapes.values()],
        )
    return path


BROKEN = [
    ({"general.architecture": "qwen2"}, "general.architecture 'qwen2'"),
    ({"general.architecture": 5}, "another type"),
    ({"adapter.type": "control"}, "adapter.type"),
    ({"adapter.type": 7}, "another type"),  # the library would abort the process
    ({"adapter.lora.alpha": 8}, "alpha"),  # and here
    ({"adapter.lora.alpha": None}, "alpha"),
    ({"adapter.alora.invocation_tokens": [1, 2]}, "activated"),
    ({"tensors": {}}, "no matrices"),
    ({"tensors": {"blk.0.attn_q.weight.lora_a": (HIDDEN, 4)}}, "pair"),
    ({"tensors": {"blk.0.attn_norm.weight": (HIDDEN,)}}, "pair"),
    ({"tensors": {"blk.0.attn_q.weight.lora_a": (HIDDEN, 4), "blk.0.attn_q.weight.lora_b": (5, HIDDEN)}}, "fit"),
    ({"tensors": {"blk.0.attn_q.weight.lora_a": (8, 4), "blk.0.attn_q.weight.lora_b": (4, HIDDEN)}}, "fit"),
    ({"tensors": {"token_embd.weight.lora_a": (4, 259), "token_embd.weight.lora_b": (5, HIDDEN)}}, "fit"),
]


@pytest.mark.parametrize(("changes", "said"), BROKEN)
def test_a_gguf_adapter_is_checked_before_the_library_sees_it(catalog, tmp_path, changes, said):
    path = gguf_adapter(tmp_path / "x.gguf", **changes)
    with pytest.raises(UserMistake, match=said):
        catalog.pull(f"file:{path}", base="tiny")


def test_a_good_one_passes(catalog, tmp_path):
    assert catalog.pull(f"file:{gguf_adapter(tmp_path / 'x.gguf')}", base="tiny").is_adapter


def test_adapters_that_nobody_uses_are_let_go_and_damaged_ones_refused(catalog, tmp_path):
    path = catalog.path(catalog.get("tiny"))
    backend = LlamaBackend(path, EngineSettings(kv_tokens=1024, threads=1, max_adapters=2))
    for name in "abcd":
        backend.load_adapter(Adapter(name, str(gguf_adapter(tmp_path / f"{name}.gguf"))))
    backend.drop_adapters({"a"})
    assert set(backend._adapters._loaded) == {"a", "d"}
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(50))
    with pytest.raises(EngineUnavailable, match="bad"):
        backend.load_adapter(Adapter("bad", str(tmp_path / "bad.gguf")))
    backend.close()
