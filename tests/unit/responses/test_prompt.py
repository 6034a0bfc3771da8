"""From items to messages: calls stand with their results, and what is left out is left out whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.responses.opaque import seal, unseal
from mainspring.responses.prompt import fitted, messages_of, num_droppable, units_of
from mainspring.store.responses import Entry


def said(role: str, text: str) -> Entry:
    kind = "output_text" if role == "assistant" else "input_text"
    return Entry({"type": "message", "id": "m", "role": role, "content": [{"type": kind, "text": text}]})


def call(name: str) -> Entry:
    return Entry({"type": "function_call", "id": f"fc_{name}", "call_id": name, "name": "f", "arguments": "{}"})


def result(name: str, text: Any = "ok") -> Entry:
    return Entry({"type": "function_call_output", "id": f"fo_{name}", "call_id": name, "output": text})


def shown(*entries: Entry, instructions: str | None = None) -> list[tuple[str, str, int]]:
    messages = messages_of(units_of(instructions, entries, {}))
    return [(each.role, each.content, len(each.tool_calls)) for each in messages]


def test_the_head_is_one_message() -> None:
    assert shown(said("developer", "B"), said("system", "C"), said("user", "Hi"), instructions="A") == [
        ("system", "A\n\nB\n\nC", 0), ("user", "Hi", 0),
    ]  # fmt: skip
    assert shown(said("developer", "B"), said("user", "Hi"))[0] == ("developer", "B", 0)


def test_calls_that_follow_one_another_were_made_together_by_the_message_before_them() -> None:
    thought = Entry({"type": "reasoning", "id": "rs", "summary": []})
    together = [said("user", "Hi"), thought, said("assistant", "Let me see."), thought, call("a"), call("b")]
    for results in ([result("a"), result("b")], [result("b"), result("a")]):
        assert shown(*together, *results, said("assistant", "Done.")) == [
            ("user", "Hi", 0), ("assistant", "Let me see.", 2), ("tool", "ok", 0), ("tool", "ok", 0),
            ("assistant", "Done.", 0),
        ]  # fmt: skip
    apart = [said("user", "Hi"), call("a"), result("a"), call("b"), result("b", [{"type": "input_text", "text": "x"}])]
    assert shown(*apart) == [
        ("user", "Hi", 0), ("assistant", "", 1), ("tool", "ok", 0), ("assistant", "", 1), ("tool", "x", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("entries", [(call("a"),), (result("a"),), (call("a"), result("b"))])
def test_a_call_without_its_result_and_a_result_without_its_call_are_refused(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(InvalidRequest) as error:
        units_of(None, entries, {})
    assert error.value.param == "input"


def test_an_item_that_nobody_reads_is_named() -> None:
    with pytest.raises(InvalidRequest, match="file_search_call"):
        units_of(None, [Entry({"type": "file_search_call", "id": "fs_1"})], {})


TURNS = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=6)


@given(TURNS, st.booleans(), st.integers(0, 30))
def test_what_is_left_out_is_whole_and_what_remains_begins_with_the_user(turns, has_head, num) -> None:
    entries = [said("system", "Head")] * has_head
    for at, (calls, answers) in enumerate(turns):
        entries.append(said("user", f"turn {at}"))
        for number in range(calls):
            entries += [call(f"{at}.{number}"), result(f"{at}.{number}")]
        entries += [said("assistant", f"Yes {at}.")] * answers
    entries.append(said("user", "last"))
    units = units_of(None, entries, {})
    most = num_droppable(units)
    left = messages_of(fitted(units, min(num, most)))
    assert [each.role for each in left].count("system") == has_head
    rest = left[has_head:]
    assert rest[0].role == "user"
    assert rest[-1].content == "last"
    made = [call.id for message in left for call in message.tool_calls]
    assert made == [message.tool_call_id for message in left if message.role == "tool"]
    whole = messages_of(units)
    assert list(left) == [message for message in whole if message in left]
    assert len(messages_of(fitted(units, most))) == has_head + 1
    assert fitted(units, 0) == units


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=50), max_size=3))
def test_what_is_sealed_comes_back(content) -> None:
    assert unseal(seal(content), "input") == content


@pytest.mark.parametrize("text", ["", "ms1_", "ms1_AAAA", "other", seal({"a": "b"})[:-8], seal({"a": "b" * 2**24})])
def test_what_was_changed_or_swells_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        unseal(text, "input")
