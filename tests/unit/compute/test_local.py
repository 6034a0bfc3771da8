"""Processes on this machine."""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mainspring.compute.local import launch_local


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system does not group by session")
def test_making_way_counts_among_other_sessions_too() -> None:
    code = "from mainspring.compute.local import make_way; make_way(7); print(open('/proc/self/autogroup').read())"
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, start_new_session=True
    ).stdout
    assert said.split()[-2:] == ["nice", "7"]


async def test_who_is_cancelled_while_one_starts_leaves_none() -> None:
    sleeps = ("timeit", "-n", "1", "-r", "1", "import time; time.sleep(300)")
    starting = asyncio.create_task(launch_local(sleeps, b"x" * 2**24))  # more than it takes without reading
    while not (mine := [each for each in psutil.Process().children() if "timeit" in each.cmdline()]):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    async with asyncio.timeout(60):
        while mine[0].is_running() and mine[0].status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
