"""What metrics become: OpenAI's table, TensorBoard's records, a run of Weights & Biases."""

import csv
import io
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mainspring.train import results
from mainspring.train.results import TensorBoard, crc32c, report_to_wandb, results_csv
from mainspring.train.spec import Integration

METRICS = [
    {"step": 1, "total_steps": 2, "train_loss": 0.5, "train_mean_token_accuracy": 0.25},
    {"step": 2, "total_steps": 2, "train_loss": 0.0, "valid_loss": 1.5, "reward": 0.75},
]


def test_the_table_has_openai_s_columns_and_what_is_a_method_s_own() -> None:
    first, second = csv.DictReader(io.StringIO(results_csv(METRICS).decode()))
    assert list(first) == [*results.COLUMNS, "reward"]
    assert (first["step"], first["train_accuracy"], first["train_mean_token_accuracy"]) == ("1", "0.25", "0.25")
    assert (first["valid_loss"], second["valid_loss"], second["reward"]) == ("", "1.5", "0.75")
    assert second["train_loss"] == "0.0", "nothing is not nought"
    assert results_csv([]).decode().count("\n") == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)],
)
def test_the_checksum_is_that_of_rfc_3720(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def records(path: Path) -> list[bytes]:
    """The records of a TFRecord file, every checksum held against its data."""

    def masked(data: bytes) -> int:
        value = crc32c(data)
        return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF

    data, found = path.read_bytes(), []
    while data:
        (length,), checks = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert checks == (masked(data[:8]),)
        body, rest = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", rest[:4]) == (masked(body),)
        found.append(body)
        data = rest[4:]
    return found


def fields(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a protobuf message: (number, value)."""
    found, at = [], 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        match tag & 7:
            case 0:
                value: Any = varint()
            case 1:
                value, at = struct.unpack_from("<d", data, at)[0], at + 8
            case 2:
                size = varint()
                value, at = data[at : at + size], at + size
            case 5:
                value, at = struct.unpack_from("<f", data, at)[0], at + 4
            case kind:
                raise AssertionError(kind)
        found.append((tag >> 3, value))
    return found


def test_tensorboard_can_read_it(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "board")
    assert not (tmp_path / "board").exists()
    board.write(1, [("train_loss", 0.5), ("reward", -2.0)])
    board.write(300, [("train_loss", 0.25)])
    [path] = (tmp_path / "board").iterdir()
    version, first, second = map(fields, records(path))
    assert dict(version)[3] == b"brain.Event:2"
    assert (dict(first)[2], dict(second)[2]) == (1, 300)
    values = [dict(fields(value)) for number, value in fields(dict(first)[5]) if number == 1]
    assert values == [{1: b"train_loss", 2: 0.5}, {1: b"reward", 2: -2.0}]


def test_without_the_package_wandb_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results.importlib.util, "find_spec", lambda _: None)
    said = report_to_wandb(tmp_path / "w", "ftjob-1", "tiny", Integration(project="p"), METRICS)
    assert "not installed" in said
    assert not (tmp_path / "w").exists()


def test_with_it_a_run_stays_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    logged: list[Any] = []
    run = SimpleNamespace(log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("end"))
    wandb = SimpleNamespace(init=lambda **more: given.update(more) or run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)  # type: ignore[arg-type]
    monkeypatch.setattr(results.importlib.util, "find_spec", lambda _: True)
    said = report_to_wandb(
        tmp_path / "w", "ftjob-1", "tiny", Integration(project="p", entity="team", tags=("x",)), METRICS
    )
    assert "offline run" in said
    assert str(tmp_path) not in said
    assert (given["mode"], given["project"], given["name"], given["entity"]) == ("offline", "p", "ftjob-1", "team")
    assert given["tags"][0] == "x"
    assert [each[0] for each in logged[:2]] == [1, 2]
    assert logged[-1] == "end"
