"""The tool file_search with the official clients: answers cite files that are there."""

import json
from collections.abc import Generator
from typing import Any

import pytest
from openai import OpenAI

from mainspring.core.config import FilterSettings
from mainspring.responses.citations import markers
from mainspring.responses.judging import NEAR
from tests.contract.observed import run
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_node import FOLDER, NODE, PACKAGE
from tests.contract.test_vector_stores import DOCUMENTS, filled

ASK = 'Tell me. !cite !call file_search {"queries": ["what do penguins eat?"]}'


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    unfiltered = FilterSettings(policy="none")  # type: ignore[call-arg]  # the fake's words mean nothing, and look bad
    with governed(tmp_path_factory.mktemp("searched"), filters=unfiltered) as found:
        yield found


@pytest.fixture(scope="module")
def store(target: GovernedTarget) -> tuple[str, dict[str, str]]:
    return filled(target.sdk("openai"))


def ask(client: OpenAI, among: str, text: str = ASK, **more: Any) -> Any:
    tools: Any = [{"type": "file_search", "vector_store_ids": [among], **more.pop("tool", {})}]
    return client.responses.create(model="fake", input=text, tools=tools, **more)


def cited(response: Any) -> tuple[str, list[Any]]:
    (part,) = response.output[-1].content
    return part.text, part.annotations


def test_item_41_an_answer_cites_files_that_were_found(
    target: GovernedTarget, store: tuple[str, dict[str, str]], dialect: str
) -> None:
    response = ask(target.sdk(dialect), store[0])
    call = response.output[0]
    assert (call.type, call.status, call.queries) == ("file_search_call", "completed", ["what do penguins eat?"])
    assert call.id.startswith("fs_")
    text, annotations = cited(response)
    assert annotations
    for each in annotations:
        assert each.type == "file_citation"
        assert store[1][each.filename] == each.file_id
        assert 0 <= each.index <= len(text)
        extra = each.model_dump()
        assert isinstance(extra["supported"], bool)
        assert extra["supported"] or extra["support_score"] < NEAR
    assert markers(text) == [], "what resolves is an annotation, and what does not is gone"


def test_item_42_results_are_shown_to_whoever_asks_for_them(
    target: GovernedTarget, store: tuple[str, dict[str, str]], dialect: str
) -> None:
    client = target.sdk(dialect)
    without = ask(client, store[0])
    assert without.output[0].results is None
    with_them = ask(client, store[0], include=["file_search_call.results"])
    first = with_them.output[0].results[0]
    assert (first.filename, first.file_id) == ("penguins.md", store[1]["penguins.md"])
    assert first.text in DOCUMENTS["penguins.md"]
    assert 0 <= first.score <= 1
    later = client.responses.retrieve(without.id, include=["file_search_call.results"])
    assert later.output[0].results[0].filename == "penguins.md"  # type: ignore[union-attr, index]
    assert client.responses.retrieve(without.id).output[0].results is None  # type: ignore[union-attr]


def test_a_stream_tells_the_search_and_the_citations_as_they_come(
    target: GovernedTarget, store: tuple[str, dict[str, str]]
) -> None:
    events = list(ask(target.sdk("openai"), store[0], stream=True))
    assert [each.sequence_number for each in events] == list(range(len(events)))
    kinds = [each.type for each in events if "file_search" in each.type]
    assert kinds == [f"response.file_search_call.{name}" for name in ("in_progress", "searching", "completed")]
    text, annotations = cited(events[-1].response)
    assert "".join(each.delta for each in events if each.type == "response.output_text.delta") == text
    added = [each for each in events if each.type == "response.output_text.annotation.added"]
    assert [each.annotation_index for each in added] == list(range(len(annotations)))
    assert [each.annotation.model_dump() for each in added] == [each.model_dump() for each in annotations]


def test_every_marker_of_500_answers_resolves_to_a_file(
    target: GovernedTarget, store: tuple[str, dict[str, str]]
) -> None:
    client, cites = target.sdk("openai"), 0
    for number in range(500):
        text, annotations = cited(ask(client, store[0], f"Question {number}: {ASK}", store=False))
        assert markers(text) == []
        assert {each.file_id for each in annotations} <= set(store[1].values())
        cites += bool(annotations)
    assert cites > 450, "the answers have markers to resolve"
    assert target.engine is not None
    first, second = target.engine.requests[-2:]
    assert (first.cites, second.cites) == ((), (1, 2, 3)), "an engine with grammars writes no others"


def test_with_nothing_above_the_floor_the_answer_says_so(
    target: GovernedTarget, store: tuple[str, dict[str, str]]
) -> None:
    text, annotations = cited(ask(target.sdk("openai"), store[0], tool={"ranking_options": {"score_threshold": 1}}))
    assert text.startswith("I found nothing about this in the files.")
    assert (annotations, markers(text)) == ([], [])


@pytest.mark.parametrize("floor", [0, 1])
def test_an_answer_in_a_format_of_the_client_s_stays_what_it_is(
    target: GovernedTarget, store: tuple[str, dict[str, str]], floor: int
) -> None:
    """Lists in it were taken for markers, and the sentence that nothing was found stood before it."""
    wanted = {"pages": [1, 9], "why": "It says so [7]."}
    schema = {
        "type": "object", "properties": {name: {"const": value} for name, value in wanted.items()},
        "required": [*wanted], "additionalProperties": False,
    }  # fmt: skip
    response = ask(
        target.sdk("openai"), store[0], tool={"ranking_options": {"score_threshold": floor}},
        extra_body={"text": {"format": {"type": "json_schema", "name": "found", "schema": schema, "strict": True}}},
    )  # fmt: skip
    text, annotations = cited(response)
    assert json.loads(text) == wanted
    assert annotations == []


def test_later_turns_cite_what_was_found_before(target: GovernedTarget, store: tuple[str, dict[str, str]]) -> None:
    client = target.sdk("openai")
    first = ask(client, store[0])
    later = ask(client, store[0], "And now? !cite", previous_response_id=first.id)
    assert [each.type for each in later.output] == ["message"]
    assert {each.file_id for each in cited(later)[1]} <= set(store[1].values())
    assert cited(later)[1]
    assert target.engine is not None
    told = [each for each in target.engine.requests[-1].prompt.messages if each.role == "tool"]  # type: ignore[union-attr]
    assert "[1] penguins.md" in told[0].content
    sent = client.responses.create(
        model="fake", input=[*[each.model_dump() for each in first.output], {"role": "user", "content": "More."}],  # type: ignore[list-item, misc]
        tools=[{"type": "file_search", "vector_store_ids": [store[0]]}],
    )  # fmt: skip
    assert sent.status == "completed", "items that came out go in again"


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"vector_store_ids": []}, "tools[0].vector_store_ids"),
        ({"max_num_results": 51}, "tools[0].max_num_results"),
        ({"ranking_options": {"score_threshold": 2}}, "tools[0].ranking_options.score_threshold"),
        ({"filters": {"type": "like", "key": "a", "value": 1}}, "tools[0].filters.type"),
        ({"type": "image_generation"}, "tools[0].type"),
    ],
)
def test_what_cannot_be_is_refused_and_named(target: GovernedTarget, tool: dict[str, Any], param: str) -> None:
    given = {"type": "file_search", "vector_store_ids": ["vs_1"], **tool}
    answer = target.post({"input": "x", "tools": [given]}, "responses")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_another_projects_store_is_not_there(target: GovernedTarget, store: tuple[str, dict[str, str]]) -> None:
    target.run(target.control.projects.put("other"))
    with target.http(target.make_key(project="other")) as client:
        tools = [{"type": "file_search", "vector_store_ids": [store[0]]}]
        answer = client.post("/v1/responses", json={"model": "fake", "input": ASK, "tools": tools})
        assert answer.status_code == 404, answer.text


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_items_41_and_42_with_the_npm_package(
    target: GovernedTarget, store: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", store[0])
    monkeypatch.setenv("ASK", ASK)
    seen = run([str(NODE), str(FOLDER / "file_search.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        assert found["without"] is None
        assert found["results"][0]["file_id"] == store[1]["penguins.md"]
        assert {each["file_id"] for each in found["annotations"]} <= set(store[1].values())
        assert found["annotations"]
        assert found["streamed"] == found["text"]
        assert json.dumps(found["events"]) == json.dumps(["in_progress", "searching", "completed"])
