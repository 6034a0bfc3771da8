"""`data_sources` of a chat, as Azure's On Your Data: what answers rest on, and that their markers resolve."""

import json
import re
from collections.abc import Generator
from typing import Any

import pytest

from mainspring.core.config import FilterSettings
from mainspring.responses.citations import markers
from mainspring.responses.grounding import NOT_FOUND
from mainspring.responses.judging import NEAR
from tests.contract.observed import run
from tests.contract.target import GovernedTarget, Target, events, governed
from tests.contract.test_node import FOLDER, NODE, PACKAGE
from tests.contract.test_vector_stores import DOCUMENTS, filled

MARKER = re.compile(r"\[[^\[\]]*\d\]")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    unfiltered = FilterSettings(policy="none")  # type: ignore[call-arg]  # the fake's words mean nothing, and look bad
    with governed(tmp_path_factory.mktemp("grounded"), filters=unfiltered) as found:
        yield found


@pytest.fixture(scope="module")
def store(target: GovernedTarget) -> str:
    return filled(target.sdk("openai"))[0]


def source(store: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "vector_store", "parameters": {"vector_store_ids": [store], "strictness": 1, **more}}]


def chat(target: GovernedTarget, sources: Any, text: str = "What do penguins eat? !cite", **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return target.post({"messages": messages, "data_sources": sources, "temperature": 1, **more})


def resolve(text: str, context: dict[str, Any]) -> None:
    """Fail unless every marker of a text is of a citation, and every span is a marker of it."""
    markers = MARKER.findall(text)
    assert set(markers) <= {f"[doc{at}]" for at in range(1, len(context["citations"]) + 1)}
    spans = context["citation_spans"]
    assert [text[each["start_index"] : each["end_index"]] for each in spans] == markers
    assert [f"[doc{each['document']}]" for each in spans] == markers


def test_item_44_data_sources_answer_with_citations_and_their_markers_resolve(
    target: GovernedTarget, store: str, dialect: str
) -> None:
    client = target.sdk(dialect)
    given: Any = {
        "model": target.model, "messages": [{"role": "user", "content": "What do penguins eat? !cite"}],
        "extra_body": {"data_sources": source(store)}, "seed": 3,
    }  # fmt: skip
    message = client.chat.completions.create(**given).choices[0].message
    context = message.model_dump()["context"]
    first = context["citations"][0]
    assert first["filepath"] == "penguins.md"
    assert first["content"] in DOCUMENTS["penguins.md"]
    assert first["file_id"].startswith("file-")
    assert json.loads(context["intent"]) == ["What do penguins eat? !cite"]
    assert message.content
    resolve(message.content, context)
    assert context["citation_spans"]
    for span in context["citation_spans"]:
        assert -1 <= span["support_score"] <= 1
        assert span["supported"] or span["support_score"] < NEAR
    text, contexts = "", []
    for chunk in client.chat.completions.create(**given, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            contexts += [found] if (found := choice.delta.model_dump().get("context")) else []
    assert text == message.content
    assert {**contexts[0], **contexts[-1]} == context
    assert len(contexts) == 2


def test_every_marker_of_500_answers_resolves_to_a_retrieved_passage(target: GovernedTarget, store: str) -> None:
    with_markers = checked = 0
    for seed in range(0, 500, 10):
        body = chat(target, source(store), n=10, seed=seed).json()
        for choice in body["choices"]:
            message = choice["message"]
            resolve(message["content"], message["context"])
            with_markers += "[doc" in message["content"]
            checked += 1
    assert checked == 500
    assert with_markers > 400, "the answers have markers to resolve"
    assert target.engine is not None
    assert target.engine.requests[-1].cites == (1, 2, 3), "an engine with grammars writes no others"


@pytest.mark.model
def test_what_the_default_model_cites_resolves(model_target: Target) -> None:
    store, _ = filled(model_target.sdk("openai"))
    for seed in (1, 2):
        messages = [{"role": "user", "content": "What do penguins eat? What is bread? Cite as [doc1]."}]
        body = {"messages": messages, "data_sources": source(store), "temperature": 1.2, "n": 8, "max_tokens": 32}
        answer = model_target.post({**body, "seed": seed})
        assert answer.status_code == 200, answer.text
        for choice in answer.json()["choices"]:
            text, context = choice["message"]["content"], choice["message"]["context"]
            told = [f"[doc{at}]" for at in range(1, len(context["citations"]) + 1)]
            shown = [text[each["start_index"] : each["end_index"]] for each in context["citation_spans"]]
            assert set(shown) <= set(told)
            assert markers(text) == shown  # hot as it is, it writes other things in brackets, such as [barrel2]


def test_what_the_model_is_given_are_the_documents_in_its_system_message(target: GovernedTarget, store: str) -> None:
    chat(target, source(store, in_scope=False, top_n_documents=1), "How does a boiler work?")
    assert target.engine is not None
    first = target.engine.requests[-1].prompt.messages[0]  # type: ignore[union-attr]
    assert (first.role, "[doc1] engines.md\n" in first.content, "[doc2]" in first.content) == ("system", True, False)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "bread"}]
    target.post({"messages": messages, "data_sources": source(store)})
    prompt = target.engine.requests[-1].prompt
    assert prompt.messages[0].content.startswith("Be brief.\n\nAnswer from the documents")  # type: ignore[union-attr]
    assert len(prompt.messages) == 2  # type: ignore[union-attr]


def test_with_nothing_found_the_answer_says_so_and_out_of_scope_the_model_answers(
    target: GovernedTarget, store: str
) -> None:
    nothing = source(store, filters={"type": "eq", "key": "topic", "value": "none"})
    message = chat(target, nothing).json()["choices"][0]["message"]
    assert message["content"] == NOT_FOUND
    assert message["context"] == {"citations": [], "intent": '["What do penguins eat? !cite"]', "citation_spans": []}
    nothing[0]["parameters"]["in_scope"] = False
    message = chat(target, nothing).json()["choices"][0]["message"]
    assert message["content"] != NOT_FOUND
    assert not MARKER.findall(message["content"]), "there is nothing to cite"


def test_what_is_told_of_the_documents_is_what_was_asked_for(target: GovernedTarget, store: str) -> None:
    asked = source(store, include_contexts=["all_retrieved_documents"])
    context = chat(target, asked).json()["choices"][0]["message"]["context"]
    assert set(context) == {"all_retrieved_documents", "citation_spans"}
    first = context["all_retrieved_documents"][0]
    assert (first["filepath"], first["data_source_index"]) == ("penguins.md", 0)
    assert 0 < first["original_search_score"] <= 1


@pytest.mark.parametrize(
    ("changes", "param", "says"),
    [
        ({"data_sources": [{"type": "azure_search", "parameters": {"endpoint": "x"}}]}, "data_sources[0].type",
         "put them into a vector store"),
        ({"data_sources": [{"type": "elasticsearch", "parameters": {}}]}, "data_sources[0].type", "elasticsearch"),
        ({"data_sources": []}, "data_sources", ""),
        ({"data_sources": source("vs_1") * 2}, "data_sources", ""),
        ({"data_sources": source("vs_1", strictness=6)}, "data_sources[0].parameters.strictness", ""),
        ({"data_sources": source("vs_1", role_information="x")}, "data_sources[0].parameters.role_information", ""),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "leave one out"),
        ({"response_format": {"type": "json_object"}}, "response_format", "leave one out"),
        ({"logprobs": True}, "logprobs", "leave one out"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "ask"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_named(
    target: GovernedTarget, store: str, changes: dict[str, Any], param: str, says: str
) -> None:
    messages = [{"role": "user", "content": "What?"}]
    answer = target.post({"messages": messages, "data_sources": source(store), **changes})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert says in answer.json()["error"]["message"]


def test_another_projects_store_is_not_there(target: GovernedTarget, store: str) -> None:
    target.run(target.control.projects.put("other"))
    key = target.make_key(project="other")
    with target.http(key) as client:
        body = {"model": target.model, "messages": [{"role": "user", "content": "x"}], "data_sources": source(store)}
        assert client.post("/v1/chat/completions", json=body).status_code == 404


def test_a_stream_ends_with_what_its_markers_are(target: GovernedTarget, store: str) -> None:
    chunks = events(chat(target, source(store), stream=True, n=2))
    last = [each["choices"][0] for each in chunks if each != "[DONE]" and each["choices"][0]["finish_reason"]]
    assert [set(each["delta"]["context"]) for each in last] == [{"citation_spans"}] * 2


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_item_44_with_the_npm_package(target: GovernedTarget, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", store)
    seen = run([str(NODE), str(FOLDER / "data_sources.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        assert found["context"]["citations"][0]["filepath"] == "penguins.md"
        assert found["streamed"] == found["text"]
        assert {**found["contexts"][0], **found["contexts"][-1]} == found["context"]
        resolve(found["text"], found["context"])
