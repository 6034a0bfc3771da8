"""What commands share: options, JSON, tables, the progress of a pull, and text that cannot drive a terminal."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

if TYPE_CHECKING:
    import rich.progress

__all__ = ["AsJson", "Home", "ProgressBar", "plain", "print_json", "print_table", "tell"]

Home = Annotated[
    Path | None,
    typer.Option("--home", help="The data directory.", show_default="MAINSPRING_HOME, or ~/.mainspring", metavar="DIR"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# Whole sequences first, so that nothing of them is left; then every control character but tab and newline, and the
# marks that reorder text on the screen (Unicode TR36, "bidirectional text spoofing").
_SEQUENCES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-Z\\^-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` without anything that a terminal obeys: models and servers are not trusted with the user's screen."""
    return _CONTROLS.sub("", _SEQUENCES.sub("", text))


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, as wide as its content when that is not a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2))
    for row in rows:
        table.add_row(*(Text(plain(cell), overflow="fold") for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=500)
    console.print(table)


def tell(text: str) -> None:
    """A remark for the person at the keyboard, on standard error."""
    sys.stderr.write(plain(text) + "\n")
    sys.stderr.flush()


class ProgressBar:
    """A `models.sources.Progress` that draws a bar on a terminal and names each phase once elsewhere.

    It draws nothing, and imports nothing, before there is progress to report. What it counts are bytes, unless
    `in_bytes` is False.
    """

    def __init__(self, title: str, *, in_bytes: bool = True) -> None:
        self._title = title
        self._in_bytes = in_bytes
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._phase = ""

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """See `models.sources.Progress`."""
        if phase != self._phase:
            self._phase = phase
            self._begin()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def _begin(self) -> None:
        if not sys.stderr.isatty():
            tell(f"{self._title}: {self._phase}")
            return
        if self._bar is None:
            from rich import progress
            from rich.console import Console

            counts = (progress.DownloadColumn(), progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
            self._bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                *(counts if self._in_bytes else (progress.TimeElapsedColumn(),)),
                console=Console(stderr=True),
            )
            self._bar.start()
        self._task = self._bar.add_task(f"{self._title}: {self._phase}", total=None)
