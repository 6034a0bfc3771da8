"""The seam that puts a process on a machine: a subprocess here, a cluster's worker elsewhere."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

__all__ = ["Launch", "Process"]


class Process(Protocol):
    """A process that was started. It ends when the one that started it does, however that happened."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    async def wait(self) -> int:
        """Until it has ended; its exit code."""
        ...

    def memory_bytes(self) -> int | None:
        """What it takes of the machine's memory; None if that is not known, or it has ended."""
        ...

    def terminate(self) -> None:
        """Ask it to end; nothing happens if it has."""
        ...

    def kill(self) -> None:
        """End it; nothing happens if it has."""
        ...


Launch = Callable[[Sequence[str], bytes], Awaitable[Process]]
"""Start `python -m <arguments>` and write the bytes to its standard input, which then stays open."""
