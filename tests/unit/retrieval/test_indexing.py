"""The indexing job on both databases: every chunk once, whatever breaks off, is cancelled, fails or is killed."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from mainspring.core.errors import NotFound, Overloaded
from mainspring.core.search import Ranking
from mainspring.core.types import Embeddings, EmbedRequest
from mainspring.engine.fake import FakeEmbedder
from mainspring.retrieval import rows
from mainspring.retrieval.attaching import Wish
from mainspring.retrieval.passages import Chunk
from mainspring.store import worker
from mainspring.store.tables import vector_store_chunks
from tests.unit.retrieval.installation import SMALL, Installation, Models, installation, until

LONG = "\n\n".join(f"Paragraph number {at} tells of the number {at}." for at in range(500))


@pytest.fixture(autouse=True)
def hurry(monkeypatch) -> None:
    monkeypatch.setattr(worker, "LOOK_S", 0.01)
    monkeypatch.setattr(worker, "BACKOFF_S", 0.0)


@pytest.fixture
async def installed(tmp_path: Path, database_url: str) -> AsyncGenerator[Installation]:
    async with installation(tmp_path, database_url) as made:
        yield made


async def kept(installed: Installation, entry: str) -> list[tuple[int, str]]:
    c = vector_store_chunks.c
    async with installed.database.read() as connection:
        found = await connection.execute(select(c.place, c.text).where(c.entry == entry).order_by(c.place))
        return [tuple(row) for row in found]


async def test_a_file_becomes_chunks_that_are_found(installed: Installation) -> None:
    store = await installed.store()
    async with installed.working():
        done = await installed.ended(await installed.put(store, LONG, chunking=SMALL))
    assert (done.status, done.error) == ("completed", None)
    chunks = await kept(installed, done.entry)
    assert [place for place, _ in chunks] == list(range(len(chunks)))
    assert " ".join(text for _, text in chunks).split() == LONG.split()
    async with installed.database.read() as connection:
        seen = await rows.find_store(connection, store)
        [first, *_] = await rows.chunks_of(connection, done.entry, 0, 1)
    assert seen is not None
    assert (seen.dimensions, seen.model.split("@")[0]) == (32, "fake-embed")
    assert len(first.vectors) % 64 == 0
    assert done.bytes > len(LONG)
    result = await installed.search(store, query="tells of number 77", ranking=Ranking(vector_weight=0))
    assert "number 77 " in result.found[0].text
    assert result.found[0].filename == "a.txt"
    assert LONG[result.found[0].start : result.found[0].end] == result.found[0].text


async def test_what_breaks_off_goes_on_behind_the_last_chunk(installed: Installation, monkeypatch) -> None:
    store, embed, calls = await installed.store(), installed.models.embed, list[tuple[str, ...]]()
    embedder = installed.models.embedders["fake-embed"]
    embedder.model = msgspec.structs.replace(embedder.model, context_length=10_000)

    async def breaking(request: EmbedRequest) -> Embeddings:
        calls.append(request.inputs)  # type: ignore[arg-type]
        if len(calls) in (3, 5):
            raise RuntimeError("lightning")
        return await embed(request)

    object.__setattr__(installed.vectors, "embed", breaking)
    async with installed.working():
        done = await installed.ended(await installed.put(store, LONG, chunking=SMALL))
    assert done.status == "completed"
    chunks = await kept(installed, done.entry)
    assert " ".join(text for _, text in chunks).split() == LONG.split()
    good = [each for at, each in enumerate(calls, 1) if at not in (3, 5)]
    assert len({text for each in good for text in each}) == sum(map(len, good)), "nothing was embedded twice"


async def test_a_file_that_is_cut_otherwise_now_is_begun_anew(tmp_path: Path) -> None:
    def shifted(passages: Any, **_: Any) -> Any:
        for at, each in enumerate(passages):
            yield Chunk(text=f"{each.text}!", start=at, end=at + 1, tokens=1)

    async with installation(tmp_path, "") as before:
        store = await before.store()
        attached = await before.put(store, LONG)
        async with before.database.write() as connection:
            old = rows.Indexed(text="old", start=0, end=3)
            await rows.add_chunks(connection, attached.entry, 0, [(old, 1)] * 40)
    async with installation(tmp_path, "", cut=shifted) as after, after.working():
        done = await after.ended(attached)
        assert done.status == "completed"
        chunks = await kept(after, done.entry)
    assert len(chunks) == 500
    assert all(text.endswith("!") for _, text in chunks)


async def test_a_model_that_is_busy_is_waited_for_and_one_that_is_gone_is_told(installed: Installation) -> None:
    store, embed, busy = await installed.store(), installed.models.embed, [2]

    async def crowded(request: EmbedRequest) -> Embeddings:
        if busy[0]:
            busy[0] -= 1
            raise Overloaded("Every place is taken.", retry_after_s=0.1)
        return await embed(request)

    object.__setattr__(installed.vectors, "embed", crowded)
    async with installed.working():
        assert (await installed.ended(await installed.put(store, "steam"))).status == "completed"
        other = FakeEmbedder("other", dimensions=16)
        installed.models.embedders = {"other": other}
        failed = await installed.ended(await installed.put(store, "engine"))
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error["code"] == "server_error"
        assert "deploy it again" in failed.error["message"]
        found = await installed.search(store, query="steam")
        assert [each.text for each in found.found] == ["steam"], "words are found without the model"
        assert (await installed.ended(await installed.put(await installed.store(), "engine"))).status == "completed"


async def test_words_alone_until_there_is_a_model(tmp_path: Path, database_url: str) -> None:
    async with installation(tmp_path, database_url, Models()) as installed, installed.working():
        store = await installed.store()
        await installed.ended(await installed.put(store, "steam engine"))
        assert [each.text for each in (await installed.search(store, query="engine")).found] == ["steam engine"]
        installed.models.embedders = {"late": FakeEmbedder("late", dimensions=16)}
        await installed.ended(await installed.put(store, "a penguin"))
        assert (await installed.stores.get("p", store)).store.model.startswith("late@")
        for query in ("steam", "penguin"):
            assert query in (await installed.search(store, query=query)).found[0].text


async def test_failures_are_told_apart(tmp_path: Path) -> None:
    async with installation(tmp_path, "", max_tokens=300) as installed, installed.working():
        store = await installed.store()
        for text, name, code in (
            ("x", "!broken", "invalid_file"), ("x", "!unknown", "unsupported_file"), (" ", "empty", "invalid_file"),
            (LONG, "long", "invalid_file"), ("!raise InvalidRequest", "refused", "server_error"),
        ):  # fmt: skip
            failed = await installed.ended(await installed.put(store, text, name))
            assert (failed.status, failed.error and failed.error["code"]) == ("failed", code)
            assert await kept(installed, failed.entry) == []
        assert (await installed.ended(await installed.put(store, "good"))).status == "completed"
        assert (await installed.stores.get("p", store)).counts.failed == 5


async def test_what_always_breaks_off_fails_and_the_others_go_on(installed: Installation) -> None:
    store = await installed.store()
    files = [await installed.file(text) for text in ("before", "!raise Unavailable", "after")]
    batch = await installed.attaching.attach_batch(
        "p", store, [Wish(file=each, attributes={}) for each in files], by="k"
    )
    async with installed.working():

        async def done() -> bool:
            return (await installed.attaching.get_batch("p", store, batch.batch.id)).status == "completed"

        await until(done)
    seen = await installed.attaching.get_batch("p", store, batch.batch.id)
    assert (seen.counts.completed, seen.counts.failed) == (2, 1)
    failed = await installed.attaching.get("p", store, files[1])
    assert failed.error is not None
    assert "broke off" in failed.error["message"]


async def test_what_is_cancelled_or_taken_out_ends(installed: Installation) -> None:
    store = await installed.store()
    files = [await installed.file(text) for text in ("!hang", "never")]
    async with installed.working():
        batch = await installed.attaching.attach_batch(
            "p", store, [Wish(file=each, attributes={}) for each in files], by="k"
        )
        embedder = installed.models.embedders["fake-embed"]

        async def hangs() -> bool:
            return embedder.running == 1

        await until(hangs)
        seen = await installed.attaching.cancel_batch("p", store, batch.batch.id)
        assert (seen.status, seen.counts.cancelled) == ("cancelled", 2)

        async def ended() -> bool:
            return embedder.running == 0

        await until(ended)
        again = await installed.put(store, "bread")
        assert (await installed.ended(again)).status == "completed"
    assert [each.text for each in (await installed.search(store, query="never bread")).found] == ["bread"]


async def test_a_file_that_goes_meanwhile_leaves_nothing(installed: Installation) -> None:
    store = await installed.store()
    async with installed.working():
        done = await installed.ended(await installed.put(store, "steam"))
        await installed.files.remove("p", done.file)
        with pytest.raises(NotFound):
            await installed.attaching.get("p", store, done.file)
        assert (await installed.search(store, query="steam")).found == ()
        await installed.ended(await installed.put(store, "engine"))
        await installed.stores.remove("p", store)
        await installed.stores.sweep()
    async with installed.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(vector_store_chunks))).scalar() == 0
    assert await installed.indexes.kept() == []


async def test_a_file_that_is_put_there_again_replaces_itself(installed: Installation) -> None:
    store = await installed.store()
    async with installed.working():
        first = await installed.ended(await installed.put(store, LONG))
        wish = Wish(file=first.file, attributes={"a": True}, chunking=SMALL)
        second = await installed.ended(await installed.attaching.attach("p", store, wish, by="k"))
    assert (second.attributes, second.max_tokens) == ({"a": True}, 100)
    assert (await installed.stores.get("p", store)).counts.total == 1
    found = (await installed.search(store, query="number 3", limit=50)).found
    assert len({(each.start, each.end) for each in found}) == len(found)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_kill_9_while_200_documents_are_indexed(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MAINSPRING_TEST_KILLS says how often: 20 for a thorough look."""
    url = "" if kind == "sqlite" else request.getfixturevalue("postgres_server").url()
    texts = {
        f"doc{at}.txt": "\n\n".join(f"Document {at} says {part}." for part in range(at % 7 + 1)) for at in range(200)
    }
    async with installation(tmp_path, url) as installed:
        store = await installed.store()
        files = {await installed.file(text, name): text for name, text in texts.items()}
        wishes = [Wish(file=each, attributes={}, chunking=SMALL) for each in files]
        batch = (await installed.attaching.attach_batch("p", store, wishes, by="k")).batch.id

        async def left() -> int:
            return (await installed.attaching.get_batch("p", store, batch)).counts.in_progress

        draw, before = random.Random(), 200
        for _ in range(int(os.environ.get("MAINSPRING_TEST_KILLS", "3"))):
            command = [sys.executable, "-m", "tests.unit.retrieval.server", str(tmp_path), url]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: ASYNC220 - a moment
            assert process.stdout is not None
            try:
                await asyncio.to_thread(process.stdout.readline)
                wanted = max(before - draw.randrange(1, 40), 0)
                async with asyncio.timeout(120):
                    while (before := await left()) > wanted:  # noqa: ASYNC110 - another process does it
                        await asyncio.sleep(draw.random() * 0.02)
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
                process.stdout.close()
        monkeypatch.setattr(worker, "LOOK_S", 0.05)
        async with installed.working():

            async def done() -> bool:
                return await left() == 0

            await until(done, 240)
        await whole(installed, store, files)


async def whole(installed: Installation, store: str, files: dict[str, str]) -> None:
    """Every document is there once, in the rows and in the index."""
    assert (await installed.stores.get("p", store)).counts.completed == len(files)
    for file, text in files.items():
        attached = await installed.attaching.get("p", store, file)
        assert " ".join(each for _, each in await kept(installed, attached.entry)).split() == text.split()
    seen = await installed.stores.get("p", store)
    async with installed.indexes.current(seen.store) as current:
        hits = current.index.by_text("document says", 10_000)
        found = current.index.fetch([hit.chunk for hit in hits])
    chunks = [(current.files[entry].file, chunk.text) for entry, chunk in found.values()]
    assert len(set(chunks)) == len(chunks)
    assert {file for file, _ in chunks} == files.keys()
