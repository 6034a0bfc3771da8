"""Processes on this machine."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

import psutil

__all__ = ["LocalProcess", "launch_local", "make_way"]


class LocalProcess:
    """A subprocess; see `launch.Process`."""

    def __init__(self, inner: asyncio.subprocess.Process) -> None:
        self._inner = inner

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._inner.pid

    async def wait(self) -> int:
        """See `launch.Process`."""
        code = await self._inner.wait()
        if self._inner.stdin is not None:
            self._inner.stdin.close()
        return code

    def memory_bytes(self) -> int | None:
        """See `launch.Process`."""
        try:
            return psutil.Process(self._inner.pid).memory_info().rss
        except psutil.Error:
            return None

    def terminate(self) -> None:
        """See `launch.Process`."""
        with contextlib.suppress(ProcessLookupError):
            self._inner.terminate()

    def kill(self) -> None:
        """See `launch.Process`."""
        with contextlib.suppress(ProcessLookupError):
            self._inner.kill()


async def launch_local(arguments: Sequence[str], first_input: bytes) -> LocalProcess:
    """See `launch.Launch`. A session of its own keeps the terminal's Ctrl-C away from it: the server stops it."""
    inner = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, stdin=PIPE, start_new_session=True)
    process = LocalProcess(inner)
    assert inner.stdin is not None
    try:
        inner.stdin.write(first_input)
        await inner.stdin.drain()
    except BaseException:  # nobody else would end it
        process.kill()
        raise
    return process


def make_way(nice: int) -> None:
    """Let what this process computes go after others' work. Where Linux groups processes by session, niceness counts
    among those of one session only, and `launch_local` gives each process one: there the group has its own."""
    os.nice(nice)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
