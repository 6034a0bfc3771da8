"""The tool file_search against its seam."""

import json
from typing import Any

import msgspec
import pytest

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.search import Comparison, Compound, Found, Ranking, SearchRequest, SearchResult
from mainspring.responses.sources import NOTHING, Shelf
from mainspring.responses.tools import Annotated, Call, Caller, Cites, Done, Kind, Opened, Progress, ServerTool
from mainspring.responses.tools_file_search import file_search

CALLER = Caller(project="p", principal="key-1", model="fake", response="resp_1")


def found(number: int, text: str = "", score: float = 0.5, **fields: Any) -> Found:
    return Found(
        store="vs_1", file=f"file-{number}", filename=f"{number}.txt", score=score, attributes={"year": 2020.0},
        text=text or f"Passage number {number} says what it says.", start=0, end=9, **fields,
    )  # fmt: skip


class Store:
    """A `Search` that finds what it is given."""

    def __init__(self, *results: Found | Exception) -> None:
        self.results, self.requests = results, list[SearchRequest]()

    async def search(self, request: SearchRequest) -> SearchResult:
        self.requests.append(request)
        for each in self.results:
            if isinstance(each, Exception):
                raise each
        return SearchResult(found=tuple(each for each in self.results if isinstance(each, Found)), queries=())


async def tool(store: Store, shelf: Shelf | None = None, caller: Caller = CALLER, **fields: Any) -> ServerTool:
    definition = {"type": "file_search", "vector_store_ids": ["vs_1"], **fields}
    return await file_search(store.search, shelf or Shelf()).make(definition, caller)


async def run(made: ServerTool, arguments: str = '{"queries": ["x"]}') -> list[Any]:
    return [step async for step in made.run(Call(id="call_1", item="fs_1", name="file_search", arguments=arguments))]


def say(made: ServerTool, text: str) -> tuple[str, list[Any]]:
    assert isinstance(made, Cites)
    reader = made.annotator()
    assert reader is not None
    out = [*reader.feed(text), *reader.end()]
    shown = "".join(each for each in out if isinstance(each, str))
    return shown, [msgspec.to_builtins(each.annotation) for each in out if isinstance(each, Annotated)]


async def test_a_call_tells_its_progress_and_ends_with_what_was_found() -> None:
    store = Store(found(1, page=3, heading=("A", "B")), found(2))
    opened, *progress, done = await run(await tool(store))
    assert isinstance(opened, Opened)
    assert isinstance(done, Done)
    assert [each.type.split(".")[-1] for each in progress if isinstance(each, Progress)] == [
        "in_progress", "searching", "completed",
    ]  # fmt: skip
    item = msgspec.to_builtins(done.item)
    assert (item["type"], item["id"], item["status"], item["queries"]) == (
        "file_search_call", "fs_1", "completed", ["x"],
    )  # fmt: skip
    assert [each["file_id"] for each in item["results"]] == ["file-1", "file-2"]
    assert "[1] 1.txt, page 3, A > B\nPassage number 1" in done.text
    assert "[2] 2.txt\nPassage number 2" in done.text


async def test_what_is_searched_is_what_was_asked_for() -> None:
    store, both = Store(), {"type": "in", "key": "year", "value": [2020, 2021]}
    options = {"ranker": "auto", "score_threshold": 0.25, "hybrid_search": {"embedding_weight": 2, "text_weight": 0}}
    filters = {"type": "and", "filters": [both, {"type": "eq", "key": "a", "value": "b"}]}
    made = await tool(
        store, vector_store_ids=["vs_1", "vs_2"], max_num_results=3, ranking_options=options, filters=filters
    )
    await run(made, '{"queries": ["a", " ", 3, "b"]}')
    assert store.requests == [
        SearchRequest(
            project="p", stores=("vs_1", "vs_2"), queries=("a", "b"), limit=3, tenant="key-1",
            ranking=Ranking(threshold=0.25, text_weight=0.0, vector_weight=2.0),
            filter=Compound(
                type="and",
                filters=(
                    Comparison(type="in", key="year", value=(2020, 2021)), Comparison(type="eq", key="a", value="b")
                ),
            ),
        )
    ]  # fmt: skip


async def test_weights_that_search_nothing_are_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        await tool(Store(), ranking_options={"hybrid_search": {"embedding_weight": 0, "text_weight": 0}})
    assert refused.value.param == "ranking_options.hybrid_search"


@pytest.mark.parametrize("arguments", ["", "[]", "{", '{"queries": []}', '{"queries": "  "}', '{"other": 1}'])
async def test_a_call_that_asks_for_nothing_is_no_search(arguments: str) -> None:
    store = Store(found(1))
    done = (await run(await tool(store), arguments))[-1]
    assert done.item.status == "failed"
    assert "Nothing was searched" in done.text
    assert store.requests == []


async def test_a_store_that_is_not_there_fails_the_response() -> None:
    with pytest.raises(NotFound):
        await run(await tool(Store(NotFound("No such store."))))


async def test_markers_become_citations_of_files_that_were_found() -> None:
    made = await tool(Store(found(1), found(2)))
    await run(made)
    text, cited = say(made, "It says so [2]. Or not [3].")
    assert text == "It says so. Or not."
    assert cited == [
        {"type": "file_citation", "file_id": "file-2", "filename": "2.txt", "index": 10, "supported": True}
    ]


async def test_with_nothing_found_the_model_is_told_and_the_answer_says_so() -> None:
    made = await tool(Store())
    assert (await run(made))[-1].text == NOTHING
    assert say(made, "  It is blue [1].") == ("I found nothing about this in the files.\n\nIt is blue.", [])


async def test_passages_of_earlier_turns_keep_their_numbers_and_can_be_cited() -> None:
    done = (await run(await tool(Store(found(1), found(2)))))[-1]
    later = await tool(Store(found(3)))
    kept = json.loads(json.dumps(done.kept))
    later.recall(msgspec.to_builtins(done.item), kept)
    assert "[3] 3.txt" in (await run(later))[-1].text
    _, cited = say(later, "A [1]. B [3].")
    assert [each["file_id"] for each in cited] == ["file-1", "file-3"]


async def test_two_tools_of_a_response_number_in_one_row_and_one_reads_for_both() -> None:
    shelf, caller = Shelf(), Caller(project="p", principal="k", model="m", response="r")
    first, second = [await tool(Store(found(at)), shelf, caller) for at in (1, 2)]
    await run(first)
    assert "[2] 2.txt" in (await run(second))[-1].text
    assert isinstance(second, Cites)
    assert second.annotator() is None
    assert [each["file_id"] for each in say(first, "A [1] [2].")[1]] == ["file-1", "file-2"]
    again = await tool(Store(found(9)), shelf, Caller(project="p", principal="k", model="m", response="r"))
    assert "[1] 9.txt" in (await run(again))[-1].text, "a response that is taken up again has its own"


async def test_what_the_model_is_shown_has_a_limit_and_only_that_can_be_cited() -> None:
    made = await tool(Store(*[found(at, text=f"{at}" * 5000) for at in range(1, 8)]))
    done = (await run(made))[-1]
    assert len(done.item.results) == 7
    assert len(done.text) < 13_000
    assert [each["file_id"] for each in say(made, "A [1] [2] [3] [4] [5].")[1]] == ["file-1", "file-2", "file-3"]


async def test_items_that_a_client_sends_are_shown_to_the_model_again() -> None:
    kind: Kind = file_search(Store().search, Shelf())
    item = {"type": "file_search_call", "queries": ["a"], "results": [{"filename": "f", "text": "t"}]}
    replay = kind.replay(item)  # type: ignore[call-arg]
    assert replay is not None
    assert (replay.name, json.loads(replay.arguments), replay.text) == ("file_search", {"queries": ["a"]}, "f\nt")


async def test_a_search_is_counted_and_a_call_that_searches_nothing_is_not() -> None:
    counted: list[tuple[Any, ...]] = []

    def count(what: Any, id: str, *, project: str, key: str, subject: str, tokens: int = 0) -> None:  # noqa: A002
        counted.append((what, id, project, key, subject, tokens))

    kind = file_search(Store().search, Shelf(), count)
    made = await kind.make({"type": "file_search", "vector_store_ids": ["vs_1"]}, CALLER)
    await run(made, "{}")
    assert not counted
    await run(made)
    assert counted == [("file_search", "fs_1", CALLER.project, CALLER.principal, CALLER.model, 0)]
