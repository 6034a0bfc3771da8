"""Hybrid search over stores: order, thresholds, servers that share a database, indexes that break."""

import asyncio
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.clock import FakeClock
from mainspring.core.errors import InvalidRequest, NotFound, Unavailable
from mainspring.core.search import Comparison, Ranking
from mainspring.engine.fake import FakeEmbedder
from mainspring.retrieval import rows, searching
from mainspring.retrieval.passages import Chunk, Passage
from mainspring.retrieval.pgvector import PgvectorIndex
from mainspring.retrieval.vectors import estimate, parts
from mainspring.store import worker
from tests.postgres import Postgres
from tests.unit.retrieval.installation import Installation, Models, installation

TEXTS = ("Penguins eat krill.", "A boiler makes steam.", "Bread needs flour.")


@pytest.fixture(autouse=True)
def hurry(monkeypatch) -> None:
    monkeypatch.setattr(worker, "LOOK_S", 0.01)


@pytest.fixture(params=["sqlite", "postgresql", "pgvector"])
def place(request: pytest.FixtureRequest) -> Generator[dict[str, Any]]:
    """Both kinds of database with the embedded index, and the one that is an index itself: for `installation`."""
    if request.param != "pgvector":
        yield {"url": "" if request.param == "sqlite" else request.getfixturevalue("postgres_server").url()}
        return
    yield {"url": request.getfixturevalue("pgvector_server").url(), "pgvector": True}


async def filled(installed: Installation, *texts: str) -> str:
    store = await installed.store()
    async with installed.working():
        for at, text in enumerate(texts):
            await installed.ended(await installed.put(store, text, f"{at}.txt", attributes={"at": float(at)}))
    return store


async def test_stores_are_searched_together(tmp_path: Path, place: dict[str, Any]) -> None:
    async with installation(tmp_path, **place) as installed:
        one, other = await filled(installed, *TEXTS[:2]), await filled(installed, TEXTS[2])
        found = (await installed.search(one, other, query="flour and krill and steam")).found
        assert {each.text for each in found} == set(TEXTS)
        assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
        assert next(each.store for each in found if each.text == TEXTS[2]) == other
        wanted = Comparison(type="lt", key="at", value=1.0)
        among = await installed.search(one, other, query="steam krill flour", filter=wanted)
        assert {each.text for each in among.found} == {TEXTS[0], TEXTS[2]}
        with pytest.raises(NotFound):
            await installed.search(one, "vs_none", query="x")


async def test_the_exact_text_is_best_and_a_threshold_leaves_out_the_rest(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    async with installation(tmp_path, **place) as installed:
        store = await filled(installed, *TEXTS)
        found = (await installed.search(store, query=TEXTS[1])).found
        assert found[0].text == TEXTS[1]
        assert found[0].score > 0.99, "the vector is the same"
        strict = await installed.search(store, query=TEXTS[1], ranking=Ranking(threshold=0.9))
        assert [each.text for each in strict.found] == [TEXTS[1]]
        by_words = await installed.search(store, query="boiler", ranking=Ranking(vector_weight=0))
        assert [each.text for each in by_words.found] == [TEXTS[1]]
        by_vectors = await installed.search(store, query="boiler", ranking=Ranking(text_weight=0), limit=2)
        assert len(by_vectors.found) == 2


async def test_servers_that_share_a_database_see_each_other_s_files(tmp_path: Path, place: dict[str, Any]) -> None:
    async with (
        installation(tmp_path, **place) as here,
        installation(tmp_path, **place, folder="there") as there,
    ):
        store = await filled(here, *TEXTS[:2])
        assert (await there.search(store, query="krill")).found[0].text == TEXTS[0]
        async with there.working():
            added = await there.ended(await there.put(store, TEXTS[2]))
        assert (await here.search(store, query="flour")).found[0].text == TEXTS[2]
        await here.attaching.remove("p", store, added.file)
        assert TEXTS[2] not in {each.text for each in (await there.search(store, query="flour")).found}
        await there.attaching.set_attributes(
            "p", store, (await here.search(store, query="krill")).found[0].file, {"at": 9.0}
        )
        wanted = Comparison(type="eq", key="at", value=9.0)
        assert [each.text for each in (await here.search(store, query="krill", filter=wanted)).found] == [TEXTS[0]]


async def test_an_index_that_is_broken_or_gone_is_made_anew(tmp_path: Path) -> None:
    async with installation(tmp_path, "") as installed:
        store = await filled(installed, *TEXTS)
        folder = tmp_path / "indexes" / store
        await installed.indexes.close()
        (folder / "vectors.f32").write_bytes(b"short")
        assert (await installed.search(store, query="krill")).found[0].text == TEXTS[0]
        await installed.indexes.close()
        (folder / "index.db").write_bytes(b"nothing" * 5000)
        assert (await installed.search(store, query="krill")).found[0].text == TEXTS[0]
        await installed.indexes.drop(store)
        assert not folder.exists()
        assert (await installed.search(store, query="krill")).found[0].text == TEXTS[0]


async def test_a_shared_index_that_another_server_drops_is_made_anew(tmp_path: Path, pgvector_server: Postgres) -> None:
    url = pgvector_server.url()
    async with (
        installation(tmp_path, url, pgvector=True) as here,
        installation(tmp_path, url, pgvector=True) as there,
    ):
        store = await filled(here, *TEXTS)
        assert (await there.search(store, query="krill")).found[0].text == TEXTS[0]
        await here.indexes.drop(store)
        assert await there.indexes.kept() == []
        assert (await there.search(store, query="krill")).found[0].text == TEXTS[0]
        assert await here.indexes.kept() == [store]


async def test_servers_that_share_an_index_take_out_nothing_that_another_put_in(
    tmp_path: Path, pgvector_server: Postgres
) -> None:
    url = pgvector_server.url()
    async with (
        installation(tmp_path, url, pgvector=True) as here,
        installation(tmp_path, url, pgvector=True) as there,
    ):
        store, entries = await filled(here, TEXTS[0]), PgvectorIndex.entries

        def slowly(index: PgvectorIndex) -> set[str]:
            """Just before this server looks, another one adds to the database and to the index."""
            PgvectorIndex.entries = entries
            asyncio.run_coroutine_threadsafe(add(), loop).result()
            return entries(index)

        async def add() -> None:
            async with there.working():
                await there.ended(await there.put(store, TEXTS[2]))

        loop = asyncio.get_running_loop()
        async with there.working():
            await there.ended(await there.put(store, TEXTS[1]))
        async with here.database.read() as connection:
            kept = await rows.find_store(connection, store)
        assert kept is not None
        PgvectorIndex.entries = slowly  # type: ignore[method-assign]
        try:
            await here.indexes.refresh(kept)
        finally:
            PgvectorIndex.entries = entries
        for installed in (there, here):
            assert (await installed.search(store, query="flour")).found[0].text == TEXTS[2]


async def test_a_reranker_has_the_last_word(tmp_path: Path) -> None:
    async def flour(query: str, texts: Sequence[str]) -> Sequence[float]:
        return [0.9 if "flour" in text else 0.1 for text in texts]

    async with installation(tmp_path, "", rerank=flour) as installed:
        store = await filled(installed, *TEXTS)
        found = (await installed.search(store, query="krill")).found
        assert (found[0].text, found[0].score) == (TEXTS[2], 0.9)
        plain = await installed.search(store, query="krill", ranking=Ranking(rerank=False))
        assert plain.found[0].text == TEXTS[0]


async def test_queries_are_rewritten_if_that_makes_sense(tmp_path: Path) -> None:
    said = ""

    class Writes(Models):
        async def generate(self, request: Any) -> Any:
            if said == "!":
                raise Unavailable("It is gone.")
            async for event in super().generate(request):
                if type(event).__name__ != "Token":
                    yield event
            from mainspring.core.types import Token

            yield Token(0, said)

    async with installation(tmp_path, "", Writes(FakeEmbedder(dimensions=32))) as installed:
        store = await filled(installed, *TEXTS)
        for said, query in (  # noqa: B007 - the model reads it
            (' "steam boiler"\n', "steam boiler"), ("About the weather", "How does a boiler make steam?"),
            ("", "How does a boiler make steam?"), ("boiler\nsteam", "How does a boiler make steam?"),
            ("!", "How does a boiler make steam?"),
        ):  # fmt: skip
            result = await installed.search(store, query="How does a boiler make steam?", rewrite=True)
            assert result.queries == (query,)
            assert result.found[0].text == TEXTS[1]


async def test_what_is_not_used_expires(tmp_path: Path, place: dict[str, Any]) -> None:
    clock = FakeClock()
    async with installation(tmp_path, **place, clock=clock) as installed:
        store = await installed.store(expires_days=2)
        async with installed.working():
            await installed.ended(await installed.put(store, TEXTS[0]))
        clock.advance(1.5 * 86_400)
        assert (await installed.search(store, query="krill")).found, "being searched is being used"
        clock.advance(1.5 * 86_400)
        assert (await installed.stores.get("p", store)).status == "completed"
        clock.advance(86_400)
        assert (await installed.stores.get("p", store)).status == "expired"
        with pytest.raises(InvalidRequest, match="expired"):
            await installed.search(store, query="krill")
        with pytest.raises(InvalidRequest, match="expired"):
            await installed.put(store, "more")
        await installed.stores.sweep()
        assert (await installed.stores.get("p", store)).counts.total == 0
        assert await installed.indexes.kept() == []


async def test_many_open_indexes_are_closed_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mainspring.retrieval.held.MAX_OPEN", 1)
    async with installation(tmp_path, "") as installed:
        stores = [await filled(installed, text) for text in TEXTS]
        for store, text in zip(stores * 2, TEXTS * 2, strict=True):
            assert (await installed.search(store, query=text)).found[0].text == text


def test_long_texts_are_parted_whole() -> None:
    text = " ".join(f"word{at}" for at in range(300)) + "x" * 400
    pieces = parts(text, 50, estimate)
    assert "".join(pieces) == text
    assert all(estimate(piece) <= 50 for piece in pieces)
    assert parts("", 5, estimate) == [""]
    assert searching.DEPTH >= 50


async def test_page_and_heading_come_along_and_are_searched(tmp_path: Path) -> None:
    async def pages(_path: Path, _name: str) -> Any:
        yield Passage(text="It is lit by a spark.", start=0, page=3, heading=("Stoves", "Ignition"))
        yield Passage(text="It is cleaned with soap.", start=40, page=4, heading=("Stoves", "Care"))

    def each(passages: Any, **_: Any) -> Any:
        for one in passages:
            end = one.start + len(one.text)
            yield Chunk(text=one.text, start=one.start, end=end, page=one.page, heading=one.heading, tokens=5)

    async with installation(tmp_path, "", parse=pages, cut=each) as installed:
        store = await filled(installed, "x")
        first = (await installed.search(store, query="ignition", ranking=Ranking(vector_weight=0))).found[0]
        assert (first.page, first.heading, first.start, first.end) == (3, ("Stoves", "Ignition"), 0, 21)
        requests = installed.models.embedders["fake-embed"].requests
        assert "Stoves > Care\nIt is cleaned with soap." in [text for each in requests for text in each.inputs]
