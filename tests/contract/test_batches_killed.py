"""A batch of 500 requests whose server is killed again and again: nothing is lost, doubled, or billed twice.

MAINSPRING_TEST_KILLS says how often; twenty were tried by hand, on both databases.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select

from mainspring.batches.answer import request_id
from mainspring.store.db import Database
from mainspring.store.jobs import find_job
from mainspring.store.tables import batch_requests, outbox, requests, usage_hours
from tests.contract.test_batches import ENDS, line, lines_of

KILLS = int(os.environ.get("MAINSPRING_TEST_KILLS", "3"))
COUNT = 500
DELAY_S = 0.1 + 0.04 * KILLS
"""Of a request: so that there is a batch left to be killed in."""


@contextlib.contextmanager
def server(home: Path, url: str) -> Generator[tuple[subprocess.Popen[str], openai.OpenAI]]:
    """A process with a server in it; killed at the end, unless it is dead."""
    command = [sys.executable, "-m", "tests.contract.batch_server", str(home), str(DELAY_S), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = json.loads(process.stdout.readline())
        with openai.OpenAI(base_url=f"{found['base_url']}/v1", api_key=found["key"], max_retries=0) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def until_over(client: openai.OpenAI, batch_id: str, seconds: float) -> bool:
    """Whether the batch ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if client.batches.retrieve(batch_id).status in ENDS:
            return True
        time.sleep(0.02)
    return False


def until_it_gets_on(client: openai.OpenAI, batch_id: str) -> None:
    """Until more has been written down."""
    before = client.batches.retrieve(batch_id)
    for _ in range(4000):
        now = client.batches.retrieve(batch_id)
        if now.request_counts != before.request_counts or now.status in ENDS:
            return
        time.sleep(0.02)
    raise AssertionError("it does not get on")


async def test_item_51_killed_again_and_again_every_custom_id_is_once(tmp_path: Path, database_url: str) -> None:
    if database_url and "MAINSPRING_TEST_KILLS" not in os.environ:
        pytest.skip("PostgreSQL only if asked for")
    rng, batch_id, num_kills, over = random.Random(KILLS), "", 0, False
    while num_kills < KILLS and not over:
        with server(tmp_path, database_url) as (_, client):
            if not batch_id:
                ear = {"name": "ear", "url": "https://ear.invalid/", "enabled": False}
                wants = {"event_types": ["batch.completed"]}
                client.post("/webhook_endpoints", body=ear | wants, cast_to=object)  # else no event is kept
                lines = [line(f"r{at}", f"number {at}") for at in range(COUNT - 5)]
                lines += [line(f"bad{at}", temperature=9) for at in range(5)]
                data = "\n".join(map(json.dumps, lines)).encode()
                file = client.files.create(file=("in.jsonl", data), purpose="batch")
                batch_id = client.batches.create(
                    input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
                ).id
            if num_kills % 3:  # what breaks off five times in a row without getting on is given up
                until_it_gets_on(client, batch_id)
            # Wherever it then is: before its lease is over, checking, asking, writing down, making files.
            over = until_over(client, batch_id, rng.random() * 3)
            num_kills += not over
    assert num_kills >= min(KILLS, 2), "it was over before it was killed"
    with server(tmp_path, database_url) as (_, client):
        assert until_over(client, batch_id, 120)
        batch = client.batches.retrieve(batch_id)
        assert batch.status == "completed"
        output, errors = lines_of(client, batch.output_file_id), lines_of(client, batch.error_file_id)
        made = [each.id for each in client.files.list(purpose="batch_output")]
        await asyncio.sleep(1.5)  # the ledger moves twice a second
    names = Counter(each["custom_id"] for each in [*output, *errors])
    assert names == Counter(json.loads(text)["custom_id"] for text in data.splitlines())
    assert (len(output), len(errors)) == (COUNT - 5, 5)
    assert sorted(made) == sorted([batch.output_file_id, batch.error_file_id])
    assert (batch.request_counts.completed, batch.request_counts.failed) == (COUNT - 5, 5)
    assert batch.usage.input_tokens == sum(each["response"]["body"]["usage"]["prompt_tokens"] for each in output)
    await check_books(tmp_path, database_url, batch_id, output)


async def check_books(home: Path, url: str, batch_id: str, output: list[dict[str, Any]]) -> None:
    """Each request is in the ledger once, with what its answer says; one event was told; nothing else is left."""
    database = await Database.open(home, url)
    async with database.read() as connection:
        job = await find_job(connection, batch_id)
        rows = (await connection.execute(select(requests))).mappings().all()
        hours = (await connection.execute(select(usage_hours))).mappings().all()
        told = (await connection.execute(select(outbox.c.type))).scalars().all()
        left = (await connection.execute(select(batch_requests.c.line))).all()
    await database.close()
    assert job is not None
    used = {each["response"]["request_id"]: each["response"]["body"]["usage"] for each in output}
    assert set(used) == {request_id(job, number) for number in range(1, COUNT - 4)}
    assert {row["id"].removeprefix("chatcmpl-") for row in rows} == set(used)
    assert len(rows) == len(used) == sum(hour["requests"] for hour in hours)
    assert {row["outcome"] for row in rows} == {"ok"}
    assert sum(row["prompt"] for row in rows) == sum(usage["prompt_tokens"] for usage in used.values())
    assert (list(told), list(left)) == (["batch.completed"], [])
