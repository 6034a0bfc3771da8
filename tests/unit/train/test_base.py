"""Models of the catalog in transformers: the same numbers as its own loader's, the same results as llama.cpp's."""

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from mainspring.core.errors import UserMistake
from mainspring.engine.formats import FORMATS, Format
from mainspring.engine.llama.measure import PASSAGE, Probe
from mainspring.engine.llama.quantise import rewrite
from mainspring.models.catalog import Catalog
from mainspring.train import weights
from mainspring.train.base import load_base
from tests.unit.train import tiny
from tests.unit.train.logits import apart, of_llama, of_pytorch

IDS = [int(each) for each in np.random.default_rng(5).integers(3, 259, 60)]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "models")


def own_loader(path: Path) -> dict[str, torch.Tensor]:
    """What transformers makes of the file."""
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.state_dict()


def pulled(catalog: Catalog, path: Path):
    return catalog.pull(f"file:{path}")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_each_architecture_says_in_pytorch_what_it_says_in_llama_cpp(catalog, tmp_path, architecture, tied):
    path = tiny.write(tmp_path / f"{architecture}.gguf", architecture, tied=tied)
    loaded = load_base(catalog, pulled(catalog, path))
    if (
        architecture != "qwen3"
    ):  # of which transformers takes the size of a head for the default, whatever the file says
        assert_equal(loaded.model.state_dict(), own_loader(path))
    assert loaded.model.get_input_embeddings().num_embeddings == len(tiny.TOKENS) == loaded.model.config.vocab_size
    is_tied = loaded.model.lm_head.weight.data_ptr() == loaded.model.get_input_embeddings().weight.data_ptr()
    assert is_tied == tied
    found = apart(of_pytorch(loaded.model, IDS), of_llama(path, IDS))
    print(f"{architecture}, {'tied' if tied else 'untied'}: {found}")
    assert found.kl < 1e-5
    assert found.logit < 0.05


LLAMA3 = {"factor": 8.0, "low": 1.0, "high": 4.0, "original": 8192}


def llama3_table(head: int, theta: float) -> np.ndarray:
    """`rope_freqs.weight` as llama.cpp's converter writes it, in its own words."""
    table = []
    for freq in 1.0 / theta ** (np.arange(0, head, 2) / head):
        wave = 2 * np.pi / freq
        if wave < LLAMA3["original"] / LLAMA3["high"]:
            table.append(1.0)
        elif wave > LLAMA3["original"] / LLAMA3["low"]:
            table.append(LLAMA3["factor"])
        else:
            smooth = (LLAMA3["original"] / wave - LLAMA3["low"]) / (LLAMA3["high"] - LLAMA3["low"])
            table.append(1 / ((1 - smooth) / LLAMA3["factor"] + smooth))
    return np.array(table)


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"rope__scaling__type": "linear", "rope__scaling__factor": 4.0}, "linear"),
        (
            {
                "rope__scaling__type": "yarn",
                "rope__scaling__factor": 4.0,
                "rope__scaling__original_context_length": 128,
            },
            "yarn",
        ),
        ({"rope__freq_base": 500000.0, "rotary": llama3_table(tiny.HEAD, 500000.0)}, "llama3"),
    ],
    ids=["linear", "yarn", "llama3"],
)
def test_rotary_positions_are_scaled_alike(catalog, tmp_path, facts, kind):
    path = tiny.write(tmp_path / "m.gguf", "llama", **facts)
    loaded = load_base(catalog, pulled(catalog, path))
    assert loaded.model.config.rope_parameters["rope_type"] == kind
    found = apart(of_pytorch(loaded.model, IDS), of_llama(path, IDS))
    print(f"{kind}: {found}")
    assert found.kl < 1e-5


def test_what_is_not_known_is_refused_by_name(catalog, tmp_path):
    path = tiny.write(tmp_path / "odd.gguf", "llama", rotary=np.linspace(1, 3, tiny.HEAD // 2))
    with pytest.raises(UserMistake, match="rotary"):
        load_base(catalog, pulled(catalog, path))
    path = tiny.write(tmp_path / "long.gguf", "llama", rope__scaling__type="longrope", rope__scaling__factor=2.0)
    with pytest.raises(UserMistake, match="'longrope'"):
        load_base(catalog, pulled(catalog, path))
    data = tiny.write(tmp_path / "other.gguf", "llama").read_bytes()
    (tmp_path / "other.gguf").write_bytes(data.replace(b"llama", b"mamba"))
    with pytest.raises(UserMistake, match="'mamba' cannot be trained"):
        load_base(catalog, pulled(catalog, tmp_path / "other.gguf"))


# -- the files that are kept -------------------------------------------------------------------------------------------


def test_weights_are_converted_once_and_go_with_the_version(catalog, tmp_path, monkeypatch):
    version = pulled(catalog, tiny.write(tmp_path / "m.gguf", "llama"))
    before = load_base(catalog, version)
    kept = {name: values.clone() for name, values in before.model.state_dict().items()}
    with torch.no_grad():
        for parameter in before.model.parameters():
            parameter.zero_()  # what is loaded is not what is kept
    monkeypatch.setattr(weights, "write_folder", lambda *_: pytest.fail("converted again"))
    assert_equal(load_base(catalog, version).model.state_dict(), kept)
    half = load_base(catalog, version, dtype="bfloat16").model  # from the same files
    assert half.lm_head.weight.dtype == torch.bfloat16
    assert catalog.list() == [version]
    catalog.remove("m")
    assert [path for path in catalog.root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_sixteen_bits_are_what_pytorch_would_round_to(catalog, tmp_path):
    version = pulled(catalog, tiny.write(tmp_path / "m.gguf", "qwen3"))
    half = load_base(catalog, version, dtype="bfloat16").model.state_dict()
    assert [path.name for path in (catalog.folder(version) / "trainable").glob("*.*[0-9]")] == ["bfloat16.1"]
    whole = load_base(catalog, version).model.state_dict()
    assert_equal(half, {name: values.bfloat16() for name, values in whole.items()})


def test_what_was_cut_off_and_older_recipes_are_made_again(catalog, tmp_path, monkeypatch):
    version = pulled(catalog, tiny.write(tmp_path / "m.gguf", "llama"))
    place = catalog.folder(version) / "trainable"
    for name in ("float32.0", "float32.1.part"):
        (place / name).mkdir(parents=True)
        (place / name / "model.safetensors").write_bytes(b"half")
    load_base(catalog, version)
    assert sorted(path.name for path in place.iterdir() if path.is_dir()) == ["float32.1"]


def test_a_disk_that_is_too_small_is_found_out_before(catalog, tmp_path, monkeypatch):
    version = pulled(catalog, tiny.write(tmp_path / "m.gguf", "llama"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserMistake, match="make room"):
        load_base(catalog, version)
    monkeypatch.undo()
    load_base(catalog, version)


def _convert(root: Path, name: str, results: "multiprocessing.Queue[str]") -> None:
    phases: list[str] = []
    catalog = Catalog(root)
    weights.as_folder(catalog, catalog.get(name), "float32", lambda phase, *_: phases.append(phase))
    results.put("converted" if "converting" in phases else "found")


def test_two_processes_convert_once(catalog, tmp_path):
    version = pulled(catalog, tiny.write(tmp_path / "m.gguf", "llama"))
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = context.Queue()
    both = [context.Process(target=_convert, args=(catalog.root, version.name, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert sorted(results.get(timeout=60) for _ in both) == ["converted", "found"]
    for process in both:
        process.join(60)


# -- the default model -------------------------------------------------------------------------------------------------

TOLERANCE = {
    # What is allowed between PyTorch in 32 bits on the dequantised weights and llama.cpp on the file: mean KL
    # divergence in nats, largest difference of two logits (192 tokens, 49,152 logits each). Measured: 5.6e-7 and 0.02;
    # 8e-4 and 0.54; 2.9e-3 and 1.2; 2.8e-3 and 1.5. llama.cpp multiplies weights of 8 bits and fewer with activations
    # of 8 bits; of the file in 16 bits, those are the embeddings.
    "f32": (1e-5, 0.1),
    "f16": (2e-3, 1.2),
    "q8_0": (6e-3, 2.5),
    "shipped": (6e-3, 3.0),
}
ALL = Format(kind=0, careful=0, file_type=0)


@pytest.fixture(scope="module")
def default(model_file, tmp_path_factory):
    catalog = Catalog(tmp_path_factory.mktemp("default") / "models")
    version = pulled(catalog, model_file)
    return catalog, version, load_base(catalog, version).model


@pytest.mark.model
def test_the_default_model_is_bit_by_bit_what_transformers_loads(default, model_file):
    assert_equal(default[2].state_dict(), own_loader(model_file))
    assert default[2].config.vocab_size == 49_152
    assert default[2].config.tie_word_embeddings


@pytest.mark.model
@pytest.mark.parametrize("name", TOLERANCE)
def test_the_default_model_says_what_llama_cpp_says(default, name, tmp_path, monkeypatch):
    catalog, version, model = default
    path = catalog.path(version)
    if name != "shipped":
        if name == "f32":  # embeddings too, which no format that is served touches
            monkeypatch.setattr("mainspring.engine.formats._kind", lambda *_: 0)
        path = tmp_path / f"{name}.gguf"
        with path.open("wb") as file:
            rewrite([catalog.path(version)], FORMATS.get(name, ALL), file, weights.quantiser(), lambda *_: None)
    ids = tokens(catalog.path(version))
    found = apart(of_pytorch(model, ids), of_llama(path, ids))
    print(f"{name}: {found}")
    kl, logit = TOLERANCE[name]
    assert found.kl < kl
    assert found.logit < logit


def tokens(path: Path) -> list[int]:
    from mainspring.core.config import EngineSettings
    from mainspring.engine.llama import binding

    probe = Probe(path, EngineSettings(threads=2), binding.load())
    ids = probe.tokenize(PASSAGE.read_bytes())[:192]
    probe.close()
    return ids
