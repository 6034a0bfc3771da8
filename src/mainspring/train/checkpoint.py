"""What a run resumes from: the trained weights, the optimiser, the step, the random numbers.

    <folder>/step-<n>/weights.safetensors     by parameter
    <folder>/step-<n>/moments.safetensors     of AdamW, two for each parameter
    <folder>/step-<n>/rest.json               the step, and whatever else the loop wants back

A checkpoint is copied in memory, which takes milliseconds, and written by another thread while the next step is
computed. It has its name once it is whole; the one before it goes then. A disk that is full costs the checkpoint, never
the run: the older one stays, and whoever asks for the next one is told.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import contextlib
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

__all__ = ["Checkpoints", "Saved"]

PREFIX = "step-"


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint. `rest` is JSON."""

    step: int
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    rest: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run in a folder of their own. One process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.part"):
            shutil.rmtree(path, ignore_errors=True)

    def latest(self) -> Saved | None:
        """The newest checkpoint that can be read; None if there is none."""
        for path in sorted(self._folder.glob(f"{PREFIX}*[0-9]"), key=_step, reverse=True):
            with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
                rest = msgspec.json.decode((path / "rest.json").read_bytes(), type=dict[str, Any])
                weights, moments = (load_file(path / f"{name}.safetensors") for name in ("weights", "moments"))
                return Saved(_step(path), weights, moments, rest)
        return None

    def save(self, saved: Saved) -> None:
        """Begin to write; `saved` must not change any more. Waits for the one before.

        Raises:
            OSError: the one before could not be written.
        """
        self.wait()
        self._pending = self._writer.submit(self._write, saved)

    def wait(self) -> None:
        """Until what was saved is on the disk.

        Raises:
            OSError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait, and end the thread. Raises as `wait` does."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def _write(self, saved: Saved) -> None:
        target = self._folder / f"{PREFIX}{saved.step:08}"
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            save_file(saved.weights, part / "weights.safetensors")
            save_file(saved.moments, part / "moments.safetensors")
            (part / "rest.json").write_bytes(msgspec.json.encode(saved.rest))
            for path in part.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        except BaseException as error:
            shutil.rmtree(part, ignore_errors=True)
            raise error if isinstance(error, OSError) else OSError(str(error)) from error
        if target.exists():  # the same step, told again after a resumption: it is the same
            shutil.rmtree(part)
            return
        part.replace(target)
        for path in self._folder.glob(f"{PREFIX}*[0-9]"):
            if path != target and _step(path) < saved.step:
                shutil.rmtree(path, ignore_errors=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix(PREFIX))
