"""vector_stores with the official clients in every dialect, over all of governance: from files to what is found."""

import asyncio
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from mainspring import wiring
from mainspring.core.config import Settings
from mainspring.core.config_vector_stores import VectorStoreSettings
from mainspring.core.errors import UserMistake
from mainspring.models.catalog import Catalog
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import API_VERSION, GovernedTarget, Served, governed
from tests.contract.test_node import FOLDER, NODE, PACKAGE
from tests.postgres import Postgres

FOLDERS = {"openai": "/v1", "azure_v1": "/openai/v1", "azure": "/openai"}
DOCUMENTS = {
    "penguins.md": "# Birds\n\nPenguins are birds that cannot fly. They swim very well and eat krill.\n",
    "engines.md": "# Machines\n\nA steam engine turns heat into motion. Its boiler makes the steam.\n",
    "bread.txt": "Bread is baked of flour, water, salt and yeast. Sourdough needs no yeast from a shop.\n",
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("stores")) as found:
        yield found


def raw(target: GovernedTarget, dialect: str, path: str, method: str = "GET", **more: Any) -> Any:
    """The answer of plain HTTP to a path below vector_stores."""
    query = {"api-version": API_VERSION} if dialect == "azure" else {}
    with target.http() as client:
        url = f"{FOLDERS[dialect]}/vector_stores{path}"
        return client.request(method, url, params={**query, **more.pop("params", {})}, **more)


def filled(client: OpenAI, documents: dict[str, str] | None = None, **more: Any) -> tuple[str, dict[str, str]]:
    """A store with documents in it, ready; its id, and the files' ids by name."""
    store = client.vector_stores.create(**more)
    ids: dict[str, str] = {}
    for name, text in (documents or DOCUMENTS).items():
        made = client.files.create(file=(name, text.encode()), purpose="assistants")
        ids[name] = made.id
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=list(ids.values()))
    assert batch.status == "completed"
    return store.id, ids


def test_item_39_upload_and_poll_reaches_completed(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    store = client.vector_stores.create(name="My store", metadata={"a": "b"}, description="what it is for")
    assert (store.name, store.metadata, store.status) == ("My store", {"a": "b"}, "completed")
    assert store.file_counts.total == store.usage_bytes == 0
    check("VectorStoreObject", raw(target, dialect, f"/{store.id}").json())
    made = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("penguins.md", DOCUMENTS["penguins.md"].encode()), attributes={"topic": "birds"}
    )
    assert (made.status, made.last_error, made.vector_store_id) == ("completed", None, store.id)
    assert made.usage_bytes > 0
    assert made.attributes == {"topic": "birds"}
    assert made.chunking_strategy is not None
    assert made.chunking_strategy.type == "static"
    assert made.chunking_strategy.static.max_chunk_size_tokens == 800
    answer = raw(target, dialect, f"/{store.id}/files/{made.id}")
    check("VectorStoreFileObject", answer.json())
    assert int(answer.headers["openai-poll-after-ms"]) > 0
    batch = client.vector_stores.file_batches.upload_and_poll(
        store.id, files=[(name, text.encode()) for name, text in DOCUMENTS.items()], file_ids=[made.id]
    )
    assert (batch.status, batch.file_counts.completed, batch.file_counts.total) == ("completed", 4, 4)
    check("VectorStoreFileBatchObject", raw(target, dialect, f"/{store.id}/file_batches/{batch.id}").json())
    counts = client.vector_stores.retrieve(store.id).file_counts
    assert (counts.completed, counts.in_progress, counts.failed, counts.cancelled, counts.total) == (4, 0, 0, 0, 4)
    used = client.vector_stores.retrieve(store.id).usage_bytes
    assert used == sum(each.usage_bytes for each in client.vector_stores.files.list(store.id))
    assert raw(target, dialect, f"/{store.id}").json()["embedding_model"].startswith("fake-embed@")


def test_item_40_the_relevant_chunk_comes_first_and_filters_exclude(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    store, ids = filled(client)
    for query, name in (("what do penguins eat?", "penguins.md"), ("How does a boiler work", "engines.md")):
        page = client.vector_stores.search(store, query=query)
        assert page.data[0].filename == name
        assert page.data[0].file_id == ids[name]
        scores = [each.score for each in page.data]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert page.data[0].content[0].text in DOCUMENTS[name]
    body = raw(target, dialect, f"/{store}/search", "POST", json={"query": ["steam", "yeast"], "max_num_results": 2})
    check("VectorStoreSearchResultsPage", body.json())
    assert body.json()["search_query"] == ["steam", "yeast"]
    assert {each["filename"] for each in body.json()["data"]} == {"engines.md", "bread.txt"}
    files = client.vector_stores.files
    files.update(ids["penguins.md"], vector_store_id=store, attributes={"topic": "birds", "year": 2001, "old": False})
    files.update(ids["engines.md"], vector_store_id=store, attributes={"topic": "machines", "year": 1900})

    def found(filters: Any) -> set[str]:
        return {each.filename for each in client.vector_stores.search(store, query="penguins", filters=filters)}

    assert found({"type": "eq", "key": "topic", "value": "birds"}) == {"penguins.md"}
    assert found({"type": "ne", "key": "topic", "value": "birds"}) == {"engines.md", "bread.txt"}
    assert found({"type": "gt", "key": "year", "value": 1950}) == {"penguins.md"}
    assert found({"type": "lte", "key": "year", "value": 2001}) == {"penguins.md", "engines.md"}
    assert found({"type": "in", "key": "topic", "value": ["machines", "x"]}) == {"engines.md"}
    assert found({"type": "nin", "key": "topic", "value": ["machines", "x"]}) == {"penguins.md", "bread.txt"}
    assert found({"type": "eq", "key": "old", "value": False}) == {"penguins.md"}
    assert found({"type": "eq", "key": "old", "value": 0}) == set()
    either = {"type": "or", "filters": [{"type": "eq", "key": "topic", "value": "machines"}]}
    both = {"type": "and", "filters": [{"type": "gte", "key": "year", "value": 1900}, either]}
    assert found(both) == {"engines.md"}
    strict = {"ranker": "none", "score_threshold": 1.0}
    assert not client.vector_stores.search(store, query="nothing of this", ranking_options=strict).data  # type: ignore[arg-type]
    assert len(client.vector_stores.search(store, query="steam", max_num_results=1).data) == 1


def test_item_53_pages_go_on_and_end(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    for each in client.vector_stores.list():
        client.vector_stores.delete(each.id)
    made = [client.vector_stores.create(name=str(at)).id for at in range(5)]
    assert [each.id for each in client.vector_stores.list(limit=2)] == made[::-1]
    assert [each.id for each in client.vector_stores.list(limit=2, order="asc")] == made
    page = client.vector_stores.list(limit=2, order="asc", before=made[4])
    assert [each.id for each in page.data] == made[2:4]
    check("ListVectorStoresResponse", raw(target, dialect, "").json())
    store, ids = filled(client)
    files = client.vector_stores.files
    whole = [each.id for each in files.list(store, order="asc")]
    assert whole == list(ids.values())
    assert [each.id for each in files.list(store, limit=1)] == whole[::-1]
    assert not files.list(store, limit=3).has_more
    assert [each.id for each in files.list(store, after=whole[0], order="asc").data] == whole[1:]
    assert [each.id for each in files.list(store, before=whole[0]).data] == whole[:0:-1]
    assert not files.list(store, filter="failed").data
    assert len(files.list(store, filter="completed").data) == 3
    check("ListVectorStoreFilesResponse", raw(target, dialect, f"/{store}/files").json())
    batch = client.vector_stores.file_batches.create_and_poll(store, file_ids=whole[:2])
    listed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store, limit=1, order="asc")
    assert [each.id for each in listed] == whole[:2]


def test_content_is_the_text_once(target: GovernedTarget) -> None:
    client = target.sdk("openai")
    text = "\n\n".join(f"Paragraph {at} says something about the number {at}." for at in range(200))
    made = client.files.create(file=("long.txt", text.encode()), purpose="user_data")
    store = client.vector_stores.create()
    chunking: Any = sized(100, 50)
    client.vector_stores.files.create_and_poll(made.id, vector_store_id=store.id, chunking_strategy=chunking)
    kept = client.vector_stores.files.retrieve(made.id, vector_store_id=store.id)
    assert kept.chunking_strategy.static.chunk_overlap_tokens == 50  # type: ignore[union-attr]
    content = client.vector_stores.files.content(made.id, vector_store_id=store.id)
    assert "".join(each.text or "" for each in content).split() == text.split()
    check("VectorStoreFileContentResponse", raw(target, "openai", f"/{store.id}/files/{made.id}/content").json())


def test_what_is_changed_and_deleted(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    store, ids = filled(client, expires_after={"anchor": "last_active_at", "days": 3})
    seen = client.vector_stores.retrieve(store)
    assert seen.expires_at is not None
    assert seen.last_active_at is not None
    assert seen.expires_at - seen.last_active_at == 3 * 86_400
    changed = client.vector_stores.update(store, name="other", metadata={"x": "y"}, expires_after=None)
    assert (changed.name, changed.metadata, changed.expires_at) == ("other", {"x": "y"}, None)
    gone = client.vector_stores.files.delete(ids["bread.txt"], vector_store_id=store)
    check("DeleteVectorStoreFileResponse", gone.model_dump())
    assert client.files.retrieve(ids["bread.txt"]).id == ids["bread.txt"], "the file itself stays"
    client.files.delete(ids["engines.md"])
    assert [each.id for each in client.vector_stores.files.list(store)] == [ids["penguins.md"]]
    assert {each.filename for each in client.vector_stores.search(store, query="steam bread penguins")} == {
        "penguins.md"
    }
    check("DeleteVectorStoreResponse", client.vector_stores.delete(store).model_dump())
    for call in (client.vector_stores.retrieve, client.vector_stores.delete, client.vector_stores.files.list):
        with pytest.raises(openai.NotFoundError) as caught:
            call(store)
        assert f"Vector store with id '{store}' not found." in caught.value.message


def test_files_that_cannot_be_read_fail_with_a_reason(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    store = client.vector_stores.create()
    files = client.vector_stores.files
    broken = files.upload_and_poll(vector_store_id=store.id, file=("a.pdf", b"%PDF-1.7 and nothing else"))
    unknown = files.upload_and_poll(vector_store_id=store.id, file=("a.bin", bytes(range(256)) * 10))
    empty = files.upload_and_poll(vector_store_id=store.id, file=("a.txt", b"  \n"))
    for each, code in ((broken, "invalid_file"), (unknown, "unsupported_file"), (empty, "invalid_file")):
        assert each.status == "failed"
        assert each.last_error is not None
        assert each.last_error.code == code, each.last_error
        check("VectorStoreFileObject", raw(target, dialect, f"/{store.id}/files/{each.id}").json())
    counts = client.vector_stores.retrieve(store.id).file_counts
    assert (counts.failed, counts.total) == (3, 3)


def test_a_batch_that_is_cancelled(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    store = client.vector_stores.create()
    made = client.files.create(file=("a.txt", b"!hang for ever"), purpose="assistants")
    batches = client.vector_stores.file_batches
    batch = batches.create(
        store.id,
        files=[{"file_id": made.id, "attributes": {"a": 1.5}}],
    )
    assert (batch.status, client.vector_stores.retrieve(store.id).status) == ("in_progress", "in_progress")
    assert batches.cancel(batch.id, vector_store_id=store.id).status == "cancelled"
    assert batches.cancel(batch.id, vector_store_id=store.id).file_counts.cancelled == 1
    assert client.vector_stores.files.retrieve(made.id, vector_store_id=store.id).status == "cancelled"


def sized(most: int, overlap: int) -> dict[str, Any]:
    return {"type": "static", "static": {"max_chunk_size_tokens": most, "chunk_overlap_tokens": overlap}}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("", {"name": 3}, "name"),
    ("", {"color": "red"}, "color"),
    ("", {"metadata": {"a" * 65: "b"}}, "metadata." + "a" * 65),
    ("", {"expires_after": {"anchor": "created_at", "days": 1}}, "expires_after.anchor"),
    ("", {"expires_after": {"anchor": "last_active_at", "days": 366}}, "expires_after.days"),
    ("", {"chunking_strategy": {"type": "auto"}}, "chunking_strategy"),
    ("", {"file_ids": ["file-none"]}, "file_id"),
    ("/files", {"file_id": "file-none"}, "file_id"),
    ("/files", {"file_id": "x", "attributes": {"a": [1]}}, "attributes.a"),
    ("/files", {"file_id": "x", "attributes": {str(at): at for at in range(17)}}, "attributes"),
    ("/files", {"file_id": "x", "chunking_strategy": sized(100, 51)}, "chunking_strategy.static.chunk_overlap_tokens"),
    ("/files", {"file_id": "x", "chunking_strategy": sized(99, 0)}, "chunking_strategy.static.max_chunk_size_tokens"),
    ("/file_batches", {}, "file_ids"),
    ("/file_batches", {"file_ids": ["a"], "files": [{"file_id": "a"}]}, "files"),
    ("/file_batches", {"files": [{"file_id": "a"}], "attributes": {}}, "attributes"),
    ("/search", {}, "query"),
    ("/search", {"query": []}, "query"),
    ("/search", {"query": "x", "max_num_results": 51}, "max_num_results"),
    ("/search", {"query": "x", "filters": {"type": "eq", "key": "a", "value": [1]}}, "filters.value"),
    ("/search", {"query": "x", "filters": {"type": "in", "key": "a", "value": 1}}, "filters.value"),
    ("/search", {"query": "x", "filters": {"type": "near", "key": "a", "value": 1}}, "filters.type"),
    ("/search", {"query": "x", "ranking_options": {"score_threshold": 2}}, "ranking_options.score_threshold"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "param"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_wrong_is_named(target: GovernedTarget, path: str, body: dict[str, Any], param: str) -> None:
    store = raw(target, "openai", "", "POST", json={}).json()["id"]
    answer = raw(target, "openai", f"/{store}{path}" if path else "", "POST", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (404 if param == "file_id" else 400, param), error


def test_filters_have_limits(target: GovernedTarget) -> None:
    store = raw(target, "openai", "", "POST", json={}).json()["id"]
    deep: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    wide = {"type": "or", "filters": [{"type": "in", "key": "a", "value": [1] * 90}] * 3}
    for _ in range(50):
        deep = {"type": "and", "filters": [deep]}
    for filters in (deep, wide):
        answer = raw(target, "openai", f"/{store}/search", "POST", json={"query": "x", "filters": filters})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith("filters")


def test_no_project_sees_another_s(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("other"))
    here, there = (target.sdk("openai", target.make_key(project=name)) for name in ("default", "other"))
    store, ids = filled(here)
    file = ids["bread.txt"]
    batch = here.vector_stores.file_batches.create_and_poll(store, file_ids=[file])
    assert store not in [each.id for each in there.vector_stores.list()]
    stores = there.vector_stores
    for call in (
        lambda: stores.retrieve(store),
        lambda: stores.update(store, name="mine"),
        lambda: stores.delete(store),
        lambda: stores.search(store, query="bread"),
        lambda: stores.files.create(store, file_id=file),
        lambda: stores.files.list(store),
        lambda: stores.files.retrieve(file, vector_store_id=store),
        lambda: stores.files.update(file, vector_store_id=store, attributes={}),
        lambda: stores.files.delete(file, vector_store_id=store),
        lambda: stores.files.content(file, vector_store_id=store),
        lambda: stores.file_batches.create(store, file_ids=[file]),
        lambda: stores.file_batches.retrieve(batch.id, vector_store_id=store),
        lambda: stores.file_batches.cancel(batch.id, vector_store_id=store),
        lambda: stores.file_batches.list_files(batch.id, vector_store_id=store),
        lambda: stores.create(file_ids=[file]),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises(openai.BadRequestError):
        stores.list(after=store)
    assert here.vector_stores.retrieve(store).file_counts.completed == 3


def test_a_project_without_an_embedding_model_searches_words(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("words"))
    client = target.sdk("openai", target.make_key(project="words"))
    store, _ = filled(client)
    assert client.vector_stores.retrieve(store).to_dict()["embedding_model"] is None
    assert client.vector_stores.search(store, query="Where is the boiler?").data[0].filename == "engines.md"


def test_a_project_s_stores_go_with_it(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("brief"))
    client = target.sdk("openai", target.make_key(project="brief"))
    store, _ = filled(client)
    target.run(target.control.projects.remove("brief"))
    target.run(target.control.projects.put("brief"))
    again = target.sdk("openai", target.make_key(project="brief"))
    assert not again.vector_stores.list().data
    with pytest.raises(openai.NotFoundError):
        again.vector_stores.retrieve(store)


def test_queries_are_rewritten_or_kept(target: GovernedTarget) -> None:
    client = target.sdk("openai")
    store, _ = filled(client)
    page = client.vector_stores.search(store, query="Could you please tell me about bread?", rewrite_query=True)
    assert page.data[0].filename == "bread.txt"


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_items_39_40_and_53_with_the_npm_package(target: GovernedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCUMENTS", json.dumps(DOCUMENTS))
    seen = run([str(NODE), str(FOLDER / "vector_stores.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        check("VectorStoreObject", found["store"])
        check("VectorStoreFileObject", found["file"])
        check("VectorStoreFileBatchObject", found["batch"])
        assert (found["file"]["status"], found["batch"]["status"]) == ("completed", "completed")
        assert found["batch"]["file_counts"] == {
            "in_progress": 0, "completed": 3, "failed": 0, "cancelled": 0, "total": 3,
        }  # fmt: skip
        assert found["store"]["file_counts"]["completed"] == 4
        assert found["first"] == "penguins.md"
        assert found["filtered"] == ["penguins.md"]
        assert len(set(found["listed"])) == len(found["listed"]) == 4
        assert len(set(found["stores"])) == len(found["stores"]) >= 1
        assert found["deleted"]["deleted"] is True
        assert found["after"] == {"kind": "NotFoundError", "status": 404}


def test_file_search_over_an_index_that_servers_share(tmp_path: Path, pgvector_server: Postgres, dialect: str) -> None:
    """One server fills the store, the other one searches it, and neither has a file of it."""
    shared: dict[str, Any] = {
        "database": pgvector_server.url(), "vector_stores": VectorStoreSettings(index="pgvector")  # pyright: ignore
    }  # fmt: skip
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with governed(tmp_path / "a", **shared) as one, governed(tmp_path / "b", **shared) as other:
        store, ids = filled(one.sdk(dialect))
        client = other.sdk(dialect, key=one.key)
        page = client.vector_stores.search(store, query="What do penguins eat?")
        assert page.data[0].filename == "penguins.md"
        among: Any = {"type": "eq", "key": "topic", "value": "engines"}
        client.vector_stores.files.update(ids["engines.md"], vector_store_id=store, attributes={"topic": "engines"})
        page = client.vector_stores.search(store, query="What do penguins eat?", filters=among)
        assert {each.filename for each in page.data} == {"engines.md"}
        client.vector_stores.files.delete(ids["penguins.md"], vector_store_id=store)
        names = {each.filename for each in one.sdk(dialect).vector_stores.search(store, query="penguins").data}
        assert "penguins.md" not in names
        answer: Any = client.responses.create(
            model=other.model, input='!call file_search {"queries": ["How is bread made?"]}',
            tools=[{"type": "file_search", "vector_store_ids": [store]}], include=["file_search_call.results"],
        )  # fmt: skip
        assert answer.output[0].results[0].filename == "bread.txt"
        assert not list(tmp_path.glob("*/indexes/*"))


def test_an_index_that_cannot_be_there_is_told_at_the_start(tmp_path: Path) -> None:
    wanted = VectorStoreSettings(index="pgvector")  # pyright: ignore
    with pytest.raises(UserMistake, match="the database is SQLite"):
        asyncio.run(opened(Settings(home=tmp_path, vector_stores=wanted)))


async def opened(settings: Settings) -> None:
    async with wiring.governed(settings, Served(Catalog(settings.home / "models")), ""):
        pass
