"""What a run has decided before its first step, kept in the job's folder: whatever was measured is measured once, and a
job that goes on after an interruption computes exactly as it began."""

from pathlib import Path
from typing import TypeVar

import msgspec

__all__ = ["keep", "recall"]

NAME = "choices.json"
T = TypeVar("T", bound=msgspec.Struct)


def recall(folder: Path, kind: type[T]) -> T | None:
    """What was kept; None if nothing was decided yet."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def keep(folder: Path, choices: msgspec.Struct) -> None:
    """Write it down, whole or not at all."""
    part = folder / f"{NAME}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(choices)))
    part.replace(folder / NAME)
