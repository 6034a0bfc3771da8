"""Servers that are killed while they deliver: all that happened is told, each under one id."""

import asyncio
import collections
import json
import random
import sys
import time
from pathlib import Path

from mainspring.core.clock import SystemClock
from mainspring.store.db import Database
from mainspring.store.outbox import announce
from mainspring.webhooks.deliveries import list_deliveries
from mainspring.webhooks.endpoints import Endpoints
from tests.unit.webhooks.carrying import SECRET, SETTINGS
from tests.unit.webhooks.installation import emptied

EVENTS, SERVERS, KILLS = 60, 2, 20
WAIT_S = 120


class Receiver:
    """Answers some with 500 and some not at all."""

    def __init__(self) -> None:
        self.ids: collections.defaultdict[str, set[str]] = collections.defaultdict(set)
        self._draw = random.Random(7)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.ids[body["data"]["id"]].add(headers["webhook-id"])
            drawn = self._draw.random()
            if drawn > 0.1:
                status = "500 Oh" if drawn < 0.3 else "200 OK"
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever sent it was killed
        finally:
            writer.close()


async def start(home: Path, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.unit.webhooks.carrying", str(home), url, stderr=asyncio.subprocess.DEVNULL
    )


async def test_killed_twenty_times_at_random_nothing_is_lost_and_nothing_has_two_ids(
    tmp_path: Path, database_url: str
) -> None:
    receiver, draw = Receiver(), random.Random(3)
    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    database = await Database.open(tmp_path, database_url)
    await emptied(database)
    made, _ = await Endpoints(database, SystemClock(), SETTINGS, SECRET).create(
        "p", name="n", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", event_types=["batch.completed"]
    )
    processes = [await start(tmp_path, database_url) for _ in range(SERVERS)]

    async def happen() -> None:
        for n in range(EVENTS):
            async with database.write() as connection:
                now_s = time.time()
                await announce(connection, project="p", type="batch.completed", object=f"batch_{n}", now_s=now_s)
            await asyncio.sleep(0.05)

    async def is_over() -> bool:
        async with database.read() as connection:
            found, _ = await list_deliveries(connection, made.id, limit=1000)
        return len(found) == EVENTS and {each.status for each in found} == {"delivered"}

    try:
        happening, kills = asyncio.create_task(happen()), 0
        async with asyncio.timeout(WAIT_S):
            while kills < KILLS or not happening.done() or not await is_over():
                if kills < KILLS:
                    await asyncio.sleep(draw.uniform(0.05, 1.0))
                    at = draw.randrange(SERVERS)
                    processes[at].kill()
                    await processes[at].wait()
                    processes[at] = await start(tmp_path, database_url)
                    kills += 1
                else:
                    await asyncio.sleep(0.05)
        await happening
    finally:
        for process in processes:
            process.kill()
            await process.wait()
        server.close()
        await database.close()
    assert receiver.ids.keys() == {f"batch_{n}" for n in range(EVENTS)}
    assert all(len(ids) == 1 for ids in receiver.ids.values())
