"""Completes an upload in processes that kill themselves, each at another of the calls that this takes.

Prints the data directories that they leave, the upload and its parts. The modules are loaded once: each of the
processes is a fork of this one, which has no thread.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from mainspring.core.clock import FakeClock
from mainspring.store.blobs import Directory
from mainspring.store.db import Database
from mainspring.store.files import Files
from mainspring.store.uploads import Uploads

MOMENTS = 20


async def stream(data: bytes) -> AsyncGenerator[bytes]:
    yield data


async def over(home: Path, work: Any) -> Any:
    """What `work` returns, given the uploads of a data directory."""
    database = await Database.open(home)
    files = Files(database, Directory(home / "blobs"), FakeClock())
    try:
        return await work(Uploads(database, files, FakeClock()))
    finally:
        await database.close()


async def begin(uploads: Uploads) -> tuple[str, list[str]]:
    made = await uploads.create(
        project="lab", purpose="user_data", filename="x", bytes=600_000, mime_type="application/pdf"
    )
    parts = []
    for at in range(3):
        parts.append((await uploads.add("lab", made.id, await uploads.receive(stream(bytes([at]) * 200_000)))).id)
    return made.id, parts


def counted(home: Path, upload: str, parts: list[str], kill_at: int) -> int:
    """How many calls into our modules and the database's it takes to complete the upload; never returns if it is to be
    killed at one of them."""
    count = 0

    def called(frame: Any, event: str, _: Any) -> None:
        nonlocal count
        if event != "call" or not any(part in frame.f_code.co_filename for part in ("mainspring/store", "aiosqlite")):
            return
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def complete(uploads: Uploads) -> None:
        threading.setprofile(called)
        sys.setprofile(called)
        await uploads.complete("lab", upload, parts)
        sys.setprofile(None)
        threading.setprofile(None)

    asyncio.run(over(home, complete))
    return count


def forked(home: Path, upload: str, parts: list[str], kill_at: int) -> int:
    """The calls that a process of its own has made; 0 if it was killed."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, str(counted(home, upload, parts, kill_at)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        count = int(said.read() or 0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == (count == 0), status
    return count


def main(folder: Path) -> None:
    """See the module."""
    first = folder / "first"
    first.mkdir()
    reading, writing = os.pipe()
    if not (child := os.fork()):  # a loop's threads must not be in the process that forks
        os.write(writing, json.dumps(asyncio.run(over(first, begin))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        upload, parts = json.load(said)
    os.waitpid(child, 0)
    whole = shutil.copytree(first, folder / "whole")
    total = forked(whole, upload, parts, kill_at=0)
    homes = list[str]()
    for moment in range(MOMENTS):
        home = shutil.copytree(first, folder / f"moment-{moment}")
        forked(home, upload, parts, kill_at=1 + (total - 1) * moment // MOMENTS)
        homes.append(str(home))
    sys.stdout.write(json.dumps({"homes": homes, "upload": upload, "parts": parts, "calls": total}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
