import contextlib
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.models.gguf import Tensor, num_bytes, read_header, read_layout, u32, write
from tests.unit.models.gguf_files import TEMPLATE, gguf_bytes, string


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf") / "model.gguf"


def test_reads_metadata_and_counts_parameters(file: Path) -> None:
    file.write_bytes(gguf_bytes())
    header = read_header(file)
    assert header.text("general.license") == "apache-2.0"
    assert header.text("tokenizer.chat_template") == TEMPLATE
    assert header.of_architecture("context_length") == 2048
    assert header.num_params == 4 * 8 + 16
    assert "tokenizer.ggml.tokens" not in header.metadata


def test_reads_every_scalar_type_and_nested_arrays(file: Path) -> None:
    scalars = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    metadata: dict[str, object] = {f"k{kind}": struct.pack(f"<I{code}", kind, 1) for kind, code in scalars.items()}
    inner = struct.pack("<IQ2H", 2, 2, 5, 6)
    metadata["nested"] = struct.pack("<IIQ", 9, 9, 2) + inner + inner
    metadata["last"] = "here"
    file.write_bytes(gguf_bytes(metadata))
    header = read_header(file)
    assert {key: header.metadata[key] for key in metadata if key.startswith("k")} == {f"k{kind}": 1 for kind in scalars}
    assert header.metadata["last"] == "here"


def test_an_absent_or_mistyped_value_is_none(file: Path) -> None:
    file.write_bytes(gguf_bytes({"general.architecture": "llama", "llama.context_length": "long", "general.name": 3}))
    header = read_header(file)
    assert header.of_architecture("context_length") is None
    assert header.text("general.name") is None
    assert header.text("general.license") is None


HEAD = b"GGUF" + struct.pack("<I", 3)
DEEP = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50 + struct.pack("<IQ", 4, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"PK\x03\x04" + b"\0" * 100,
        gguf_bytes(version=1),
        gguf_bytes(version=3 << 24),  # how a big-endian file looks
        HEAD + struct.pack("<QQ", 2**63, 0),
        HEAD + struct.pack("<QQ", 0, 2**63),
        HEAD + struct.pack("<QQ", 0, 60_000),
        HEAD + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**40),
        HEAD + struct.pack("<QQ", 0, 1) + string("key") + struct.pack("<IQ", 8, 2**62),
        HEAD + struct.pack("<QQ", 0, 1) + string("key") + struct.pack("<I", 13),
        HEAD + struct.pack("<QQ", 0, 1) + string("key") + struct.pack("<IIQ", 9, 4, 2**62),
        HEAD + struct.pack("<QQ", 0, 1) + string("key") + struct.pack("<IIQ", 9, 4, 2**20),
        HEAD + struct.pack("<QQ", 0, 1) + string("key") + DEEP,
        gguf_bytes({}, [(2**62, 2**62, 2**62)]),
        gguf_bytes({}, [(2**40, 2**40)]),
        gguf_bytes({}, [(1,) * 9]),
        gguf_bytes(weights=b"")[:-1],
    ],
)
def test_malformed_files_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(InvalidRequest) as caught:
        read_header(file)
    assert caught.value.code == "malformed_model"


def test_a_claimed_length_is_not_allocated(file: Path) -> None:
    file.write_bytes(HEAD + struct.pack("<QQ", 0, 1) + string("key") + struct.pack("<IQ", 8, 4 * 2**20) + b"short")
    tracemalloc.start()
    with pytest.raises(InvalidRequest):
        read_header(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20  # the read buffer is half of it


VALID = gguf_bytes(weights=b"")
fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(data=st.binary(max_size=400), head=st.sampled_from([b"", b"GGUF", HEAD, HEAD + struct.pack("<QQ", 1, 2)]))
def test_random_bytes_raise_only_our_error(file: Path, data: bytes, head: bytes) -> None:
    file.write_bytes(head + data)
    with contextlib.suppress(InvalidRequest):
        read_header(file)


@fuzz
@given(
    changes=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=8),
    length=st.integers(0, len(VALID)),
)
def test_corrupted_files_raise_only_our_error(file: Path, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(VALID)
    for place, byte in changes:
        data[place] = byte
    file.write_bytes(bytes(data[:length]))
    try:
        header = read_header(file)
    except InvalidRequest:
        return
    assert length == len(VALID)  # what is cut short is never taken
    assert header.num_params >= 0


@pytest.mark.parametrize("length", range(0, len(VALID), 7))
def test_a_truncated_file_is_refused(file: Path, length: int) -> None:
    file.write_bytes(VALID[:length])
    with pytest.raises(InvalidRequest):
        read_header(file)


# -- the whole file ----------------------------------------------------------------------------------------------------

TENSORS = [
    Tensor(name="a.weight", shape=(32, 3), kind=8),
    Tensor(name="b.weight", shape=(5,), kind=0),
    Tensor(name="c.weight", shape=(32, 2, 2), kind=2),
]
DATA = [bytes(range(102)), bytes(20), b"x" * 72]


def written(path: Path, metadata: dict[str, bytes] | None = None) -> Path:
    with path.open("wb") as out:
        write(out, metadata or {}, TENSORS, DATA)
    return path


def test_what_is_written_is_read(file: Path) -> None:
    file.write_bytes(gguf_bytes(weights=bytes(400)))
    metadata = {**read_layout(file).metadata, "general.file_type": u32("general.file_type", 7)}
    written(file, metadata)
    layout = read_layout(file)
    assert layout.metadata == metadata
    assert [(each.name, each.shape, each.kind) for each in layout.tensors] == [
        (each.name, each.shape, each.kind) for each in TENSORS
    ]
    raw = file.read_bytes()
    assert [raw[each.offset : each.offset + num_bytes(each)] for each in layout.tensors] == DATA
    assert all(each.offset % 32 == 0 for each in layout.tensors)
    header = read_header(file)
    assert header.text("tokenizer.chat_template") == TEMPLATE
    assert header.metadata["general.file_type"] == 7
    assert header.num_params == 96 + 5 + 128


def test_an_alignment_of_its_own_is_respected_and_not_kept(file: Path) -> None:
    alignment = {"general.alignment": struct.pack("<II", 4, 128)}
    raw = gguf_bytes(alignment, ((4, 8),), weights=b"")
    file.write_bytes(raw + b"\0" * (-len(raw) % 128) + b"w" * 128)
    layout = read_layout(file)
    assert layout.tensors[0].offset % 128 == 0
    assert file.read_bytes()[layout.tensors[0].offset :] == b"w" * 128
    with file.open("wb") as out:
        write(out, layout.metadata, layout.tensors, [b"w" * 128])
    assert "general.alignment" not in read_layout(file).metadata


@pytest.mark.parametrize("alignment", [0, 3, 2**20])
def test_an_impossible_alignment_is_refused(file: Path, alignment: int) -> None:
    file.write_bytes(gguf_bytes({"general.alignment": struct.pack("<II", 4, alignment)}))
    with pytest.raises(InvalidRequest, match="alignment"):
        read_layout(file)


def test_a_tensor_beyond_the_end_is_refused(file: Path) -> None:
    raw = written(file).read_bytes()
    file.write_bytes(raw[:-30])
    with pytest.raises(InvalidRequest, match=r"c\.weight ends beyond"):
        read_layout(file)


@pytest.mark.parametrize(("kind", "shape"), [(4, (32,)), (99, (32,)), (8, (31,)), (8, ())])
def test_an_unknown_type_or_half_a_block_is_refused(kind: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest, match="x"):
        num_bytes(Tensor(name="x", shape=shape, kind=kind))
