"""`mainspring usage` on rows that a ledger has written."""

import asyncio
import json
import time
from pathlib import Path

import msgspec
import pytest

from mainspring.core.clock import SystemClock
from mainspring.governance.keys import Keys
from mainspring.governance.ledger import Entry, Ledger
from mainspring.store.db import Database


async def fill(home: Path) -> None:
    database = await Database.open(home)
    key, _ = await Keys(database, SystemClock()).create("laptop")
    ledger = Ledger(database, home / "ledger", SystemClock())
    await ledger.start()
    for number in range(4):
        started, model = time.time() - 86_400 * (number // 2), f"model-{number % 2}"
        entry = Entry(
            id=f"r{number}", started=started, key=key.id, deployment=model, version="v", operation="chat"
        )  # fmt: skip
        ledger.begin(entry)
        ledger.end(msgspec.structs.replace(entry, outcome="ok", prompt=1000, cached=100, completion=10, cost=2500))
    await ledger.stop()
    await database.close()


@pytest.fixture
def used(home: Path) -> Path:
    home.mkdir(exist_ok=True)
    asyncio.run(fill(home))
    return home


def test_sums_by_key_model_or_day(ms, used: Path) -> None:
    rows = json.loads(ms("usage", "--json").out)
    assert [(row["key"], row["model"], row["requests"], row["prompt"], row["cost"]) for row in rows] == [
        ("laptop", "model-0", 2, 2000, 0.005), ("laptop", "model-1", 2, 2000, 0.005)
    ]  # fmt: skip
    assert {row["model"]: row["completion"] for row in json.loads(ms("usage", "--by", "model", "--json").out)} == {
        "model-0": 20, "model-1": 20,
    }  # fmt: skip
    days = json.loads(ms("usage", "--by", "day", "--json").out)
    assert [row["requests"] for row in days] == [2, 2]
    assert days[0]["day"] < days[1]["day"]
    assert sum(row["requests"] for row in json.loads(ms("usage", "--since", "3h", "--json").out)) == 2
    shown = ms("usage").out
    assert "laptop" in shown
    assert "2,000" in shown
    assert "0.0050" in shown


def test_nothing_was_used(ms) -> None:
    assert json.loads(ms("usage", "--json").out) == []
    assert ms("usage").code == 0
    assert ms("usage", "--since", "soon").code == 2
    assert ms("usage", "--by", "planet").code == 2
