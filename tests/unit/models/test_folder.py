"""Causal language models that are folders of safetensors: from a directory and from the hub."""

import hashlib
import json

import numpy as np
import pytest

from mainspring.core.config import Settings
from mainspring.core.errors import InvalidRequest, UserMistake
from mainspring.models.catalog import Catalog
from mainspring.wiring import _router
from tests.unit.engine import tiny_bert
from tests.unit.models.hub_server import Hub, serving

TEMPLATE = "{{ messages }}"


def weights(name):
    return tiny_bert.safetensors({name: np.zeros(2, np.float32)})


def files(**changes):
    """One model, by file; None takes one away."""
    config = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 77}
    whole = {
        "model.safetensors": weights("a"),
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": json.dumps({"chat_template": TEMPLATE}).encode(),
        "modeling.py": b"raise SystemExit",
        "pytorch_model.bin": b"a pickle",
    }
    found = whole | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in found.items() if value is not None}


def write(folder, contents):
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def pull(tmp_path, contents):
    return Catalog(tmp_path / "models").pull(f"file:{write(tmp_path / 'Tiny-Chat', contents)}")


def test_a_folder_becomes_a_chat_model(tmp_path):
    version = pull(tmp_path, files())
    assert (version.name, version.kind, version.format) == ("tiny-chat", "chat", "safetensors")
    assert (version.context_length, version.num_params, version.chat_template) == (77, 2, TEMPLATE)
    assert [file.path for file in version.files] == [
        "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip


def test_without_a_template_it_only_completes(tmp_path):
    assert pull(tmp_path, files(tokenizer_config__json=b"{}")).kind == "completion"


def test_the_template_may_be_a_file(tmp_path):
    version = pull(tmp_path, files(tokenizer_config__json=b"{}", chat_template__jinja=b"{{ a }}"))
    assert (version.kind, version.chat_template) == ("chat", "{{ a }}")


def parts(*present, of=2):
    found = {f"model-{at:05d}-of-{of:05d}.safetensors": weights(f"w{at}") for at in present}
    return files() | found | {"model.safetensors.index.json": b"{}"}


def test_weights_may_be_in_parts(tmp_path):
    contents = parts(1, 2)
    del contents["model.safetensors"]
    version = pull(tmp_path, contents)
    assert version.files[0].path == "model-00001-of-00002.safetensors"
    assert version.num_params == 4
    assert "model.safetensors.index.json" in {file.path for file in version.files}


@pytest.mark.parametrize("missing", ["model-00002-of-00002.safetensors", "model.safetensors.index.json"])
def test_a_missing_part_is_told(tmp_path, missing):
    contents = parts(1, 2)
    del contents["model.safetensors"], contents[missing]
    with pytest.raises(UserMistake, match="not all of them"):
        pull(tmp_path, contents)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model__safetensors": None}, "never as pickles"),
        ({"config__json": b"{"}, "config.json is not what it should be"),
        ({"config__json": b'{"architectures": 5}'}, "config.json is not what it should be"),
        ({"tokenizer_config__json": b'{"chat_template": 5}'}, "tokenizer_config.json is not"),
        ({"chat_template__jinja": b"x" * 2**21}, "larger than any real one"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, changes, error):
    with pytest.raises(UserMistake, match=error):
        pull(tmp_path, files(**changes))


def test_damaged_weights_are_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="not a whole safetensors file"):
        pull(tmp_path, files(model__safetensors=weights("a")[:-1]))


def test_without_vllm_the_error_names_the_fix(tmp_path, monkeypatch):
    version = pull(tmp_path, files())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = Settings(home=tmp_path, models=(version.name,))
    with pytest.raises(UserMistake, match=r"pip install 'mainspring\[vllm\]'"):
        _router(settings)


@pytest.fixture
def hub(monkeypatch):
    with serving(Hub(files())) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running


def test_a_repository_s_folder_is_fetched_and_verified(tmp_path, hub):
    catalog = Catalog(tmp_path / "models")
    version = catalog.pull("hf:org/repo/")
    assert (version.name, version.kind) == ("repo", "chat")
    for file in version.files:
        assert catalog.path(version, file).read_bytes() == hub.files[file.path]
        assert file.sha256 == hashlib.sha256(hub.files[file.path]).hexdigest()
    assert not [path for path, _, _ in hub.requests if path.endswith((".py", ".bin"))]
    assert not list(catalog.path(version).parent.glob("*.part"))


def test_a_configuration_that_is_not_what_the_hub_lists_is_refused(tmp_path, hub):
    hub.blobs["config.json"] = "0" * 40
    with pytest.raises(UserMistake, match="its hash differs"):
        Catalog(tmp_path / "models").pull("hf:org/repo/")
