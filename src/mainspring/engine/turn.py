"""One replica computes at a time on a machine.

Compute threads meet at a barrier hundreds of times in a step, and they spin while they wait. Two replicas that compute
at once on the same cores therefore do not halve each other's speed: each waits at every barrier for a thread that the
other one has displaced (measured on two cores: 0.8 s a token instead of 0.01 s). Taking turns, step by step, costs
microseconds and shares the machine fairly.
"""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: replicas there do not take turns yet
    fcntl = None

__all__ = ["Turn"]


class Turn:
    """A lock file. The kernel releases it when its holder dies, so a crash never blocks the others.

    Args:
        path: the file, shared by all replicas of a machine; None means that there is nobody to share with.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) if path else None

    @contextlib.contextmanager
    def taken(self) -> Generator[None]:
        """Wait for our turn; the machine is ours in the body."""
        if self._file is None or fcntl is None:
            yield
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
