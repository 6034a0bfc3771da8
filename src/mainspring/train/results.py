"""What a job's metrics become besides events: OpenAI's table, TensorBoard's event files, a run of Weights & Biases.

TensorBoard's format is written here, in thirty lines: the library that does only this (tensorboardX) brings protobuf,
which other packages want in other versions, for five fields of two messages that have not changed since 2016.
"""

import csv
import importlib
import importlib.util
import io
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mainspring.train.spec import Integration

__all__ = ["COLUMNS", "TensorBoard", "crc32c", "report_to_wandb", "results_csv"]

COLUMNS = (
    "step", "train_loss", "train_accuracy", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy",
    "full_valid_loss", "full_valid_mean_token_accuracy",
)  # fmt: skip
"""OpenAI's, by the names of both its documentation and Azure's."""
_NO_COLUMN = frozenset({"total_steps"})


def results_csv(metrics: Sequence[Mapping[str, Any]]) -> bytes:
    """The table of a job's metrics, a row a step; what a method has of its own comes after OpenAI's columns."""
    own = sorted({name for each in metrics for name in each} - set(COLUMNS) - _NO_COLUMN)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *own))
    for each in metrics:
        row = {"train_accuracy": each.get("train_mean_token_accuracy"), **each}
        writer.writerow(["" if (value := row.get(name)) is None else value for name in (*COLUMNS, *own)])
    return text.getvalue().encode()


# -- TensorBoard -------------------------------------------------------------------------------------------------------


def _crc_table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, appendix B.4."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(data: bytes) -> bytes:
    """A record of a TFRecord file: length and data, each with its checksum."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


class TensorBoard:
    """An event file in `folder`, begun when there is something to write. Each start of the process has its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    def write(self, step: int, values: Iterable[tuple[str, float]]) -> None:
        """Metrics of a step. Raises OSError."""
        wall = struct.pack("<Bd", 1 << 3 | 1, time.time())
        data = b""
        if self._path is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path = self._folder / f"events.out.tfevents.{time.time_ns()}.mainspring"
            data = _record(wall + _field(3, b"brain.Event:2"))
        summary = b"".join(
            _field(1, _field(1, name.encode()) + struct.pack("<Bf", 2 << 3 | 5, value)) for name, value in values
        )
        data += _record(wall + _varint(2 << 3) + _varint(step) + _field(5, summary))
        with self._path.open("ab") as file:
            file.write(data)


# -- Weights & Biases --------------------------------------------------------------------------------------------------


def report_to_wandb(
    folder: Path, job: str, base: str, integration: Integration, metrics: Sequence[Mapping[str, Any]]
) -> str:
    """Make a run of a job's metrics that is on this machine only, if the package is installed; what to tell of it.

    Nothing is sent anywhere: `wandb sync` does that, with the credentials of whoever calls it.
    """
    if importlib.util.find_spec("wandb") is None:
        return "Weights & Biases: the package wandb is not installed on this server, so no run was made"
    wandb: Any = importlib.import_module("wandb")
    folder.mkdir(parents=True, exist_ok=True)
    tags = [*integration.tags, "mainspring/finetune", f"mainspring/{base}"[:64], f"mainspring/{job}"[:64]]
    run = wandb.init(
        mode="offline", dir=str(folder), project=integration.project, entity=integration.entity,
        name=integration.name or job, id=job, tags=tags, resume="allow",
    )  # fmt: skip
    for each in metrics:
        run.log({name: value for name, value in each.items() if name != "step"}, step=each["step"])
    run.finish()
    return f"Weights & Biases: an offline run for the project {integration.project!r} is in the job's folder"
