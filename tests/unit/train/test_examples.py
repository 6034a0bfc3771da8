"""Lines of training data: what is taken, what is refused, and that every refusal says where and what to do."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.train import lines
from mainspring.train.examples import Chat, Completion, ExampleFile, Preference, Reinforcement, parse
from mainspring.train.lines import Faults, Wrong, parse_object, read_lines

USER = {"role": "user", "content": "hi"}
SAID = {"role": "assistant", "content": "hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def read(line, method="supervised"):
    return parse(line if isinstance(line, bytes) else json.dumps(line).encode(), method)


def fault(line, method="supervised"):
    with pytest.raises(Wrong) as found:
        read(line, method)
    return found.value.path, found.value.message


def messages(*given, **more):
    return {"messages": list(given), **more}


def test_a_conversation():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = read(messages(
        {"role": "developer", "content": "s"}, {"role": "user", "content": parts, "name": "x"},
        {"role": "assistant", "content": "no", "weight": 0}, USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}], "weight": 1},
        tools=[TOOL], parallel_tool_calls=False,
    ))  # fmt: skip
    assert isinstance(found, Chat)
    assert found.weights == (0, 0, 0, 0, 1, 0, 1)
    assert [one.content for one in found.messages] == ["s", "ab", "no", "hi", "", "3", "never"]
    assert found.messages[4].tool_calls[0].name == "look"
    assert found.messages[5].tool_call_id == "c1"
    assert found.tools.tools[0].name == "look"
    assert not found.tools.parallel


def test_functions_are_the_older_form():
    found = read(messages(
        USER, {"role": "assistant", "function_call": {"name": "look", "arguments": "{}"}},
        {"role": "function", "name": "look", "content": "3"}, SAID, functions=[{"name": "look"}],
    ))  # fmt: skip
    assert found.messages[1].tool_calls[0].id == found.messages[2].tool_call_id
    assert not found.tools.parallel


def test_the_other_formats():
    assert read({"prompt": "a", "completion": "b"}) == Completion(prompt="a", completion="b")
    line = {"input": messages(USER, tools=[TOOL]), "preferred_output": [SAID],
            "non_preferred_output": [{"role": "assistant", "content": "no"}]}  # fmt: skip
    for method in ("dpo", "reward"):
        found = read(line, method)
        assert isinstance(found, Preference)
        assert (found.chosen[0].content, found.rejected[0].content) == ("hello", "no")
        assert found.tools is not None
    line = messages(USER, reference_answer=4, tools=[TOOL])
    found = read(line, "reinforcement")
    assert isinstance(found, Reinforcement)
    assert found.item == line
    assert found.tools.tools[0].name == "look"


BAD = [
    (b"[1]", "", "must be a JSON object"),
    (b"{", "", "not valid JSON"),
    (b'{"a": 1, "a": 2}', "", "'a' twice"),
    (b'{"messages": [{"role": "user", "role": "user"}]}', "", "'role' twice"),
    (b'{"a": NaN}', "", "NaN"),
    (b'{"a": -Infinity}', "", "-Infinity"),
    (b'{"a": 1e999}', "", "too large"),
    (b'{"a": ' + b"9" * 5000 + b"}", "", "thousands of digits"),
    (b'{"a": "\xff"}', "", "not UTF-8 (at its byte 8)"),
    (b'{"a": {"b": ["\\ud800"]}}', "a.b[0]", "lone surrogate"),
    (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", None, "nested more than 64"),
    (b'{"a": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", None, "nested more than 64"),
    ({}, "", "'messages' is missing"),
    ({"messages": []}, "messages", "at least one"),
    (messages(USER), "messages", "nothing to learn"),
    (messages(USER, SAID, USER), "messages[2].role", "last message"),
    (messages(USER, SAID, id=3), "", "'id' is unknown"),
    (messages(USER, SAID | {"wieght": 1}), "messages[1]", "'wieght' is unknown"),
    (messages(USER | {"weight": 1}, SAID), "messages[0]", "only messages of the assistant"),
    (messages(USER, SAID | {"reasoning_content": "x"}), "messages[1]", "thoughts into 'content'"),
    (messages(USER, SAID | {"weight": 2}), "messages[1].weight", "2 is none of the values"),
    (messages(USER, SAID | {"weight": 0.5}), "messages[1].weight", "it must be"),
    (messages({"role": "usr", "content": "x"}, SAID), "messages[0].role", "'usr' is not a role"),
    (messages({"role": "user", "content": None}, SAID), "messages[0].content", "a string or an array, not null"),
    (messages({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, SAID),
     "messages[0].content[0].type", "'image_url' cannot be learnt"),
    (messages(USER, {"role": "assistant", "content": " "}), "messages[1].content", "weight 0"),
    (messages(USER, {"role": "assistant"}), "messages[1].content", "needs 'content'"),
    (messages(USER, {"role": "assistant", "tool_calls": [CALL]}, USER, SAID), "messages[2]", "'c1' has no result"),
    (messages(USER, {"role": "tool", "tool_call_id": "z", "content": ""}, SAID), "messages[1].tool_call_id", "no call"),
    (messages(USER, {"role": "assistant", "tool_calls": [CALL, CALL]}), "messages[1].tool_calls", "one id"),
    (messages(USER, {"role": "assistant", "tool_calls": [CALL | {"function": {"name": "look", "arguments": "["}}]}),
     "messages[1].tool_calls[0].function.arguments", "JSON object"),
    (messages(USER, SAID, tools=[TOOL, TOOL]), "tools[1]", "are called 'look'"),
    (messages(USER, SAID, tools=[TOOL], functions=[]), "functions", "older name"),
    (messages(USER, SAID, prompt="x"), "", "one of the two formats"),
    ({"prompt": "x", "completion": ""}, "completion", "nothing to learn"),
    ({"prompt": "x"}, "", "'completion' is missing"),
    ({"input": messages(USER), "preferred_output": [SAID], "non_preferred_output": [SAID]}, "", "the method dpo"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "path", "message"), BAD)
def test_what_is_wrong_is_told_with_its_place(line, path, message):
    where, what = fault(line)
    assert message in what
    assert path is None or where == path


@pytest.mark.parametrize(
    ("line", "method", "path", "message"),
    [
        (messages(USER, SAID), "dpo", "", "'input'"),
        ({"input": messages(USER), "preferred_output": [SAID]}, "dpo", "", "'non_preferred_output' is missing"),
        ({"input": messages(USER, SAID), "preferred_output": [SAID], "non_preferred_output": [SAID]}, "dpo",
         "input.messages[1].role", "before the assistant answers"),
        ({"input": messages(USER), "preferred_output": [SAID], "non_preferred_output": [SAID]}, "dpo",
         "non_preferred_output", "nothing to prefer"),
        ({"input": messages(USER), "preferred_output": [USER], "non_preferred_output": [SAID]}, "dpo",
         "preferred_output[0].role", "'user' is not a role"),
        ({"input": messages(USER), "preferred_output": [SAID | {"content": ""}], "non_preferred_output": [SAID]}, "dpo",
         "preferred_output[0].content", "is empty"),
        (messages(USER, SAID), "reinforcement", "messages[1].role", "must not be the assistant's"),
    ],
)  # fmt: skip
def test_so_in_the_other_methods(line, method, path, message):
    where, what = fault(line, method)
    assert where == path
    assert message in what


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.sampled_from(["user", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "messages", "tools", "prompt", "weight", "type"]), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["messages", "tools", "input", "prompt", "completion"]), json_values))
@settings(deadline=None)
def test_nothing_else_is_ever_raised(line):
    for method in ("supervised", "dpo", "reinforcement"):
        found = ""
        try:
            parse(json.dumps(line).encode(), method)
        except Wrong as wrong:
            found = wrong.message
        assert "`" not in found, "no words of the decoder's"


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_nor_for_any_bytes(data):
    with contextlib.suppress(Wrong):
        parse_object(data)


GOOD = json.dumps(messages(USER, SAID)).encode()


def write(tmp_path, *parts, end=b"\n"):
    path = tmp_path / "data.jsonl"
    path.write_bytes(end.join(parts))
    return path


def test_lines_are_numbered_as_an_editor_does_and_found_again(tmp_path):
    first = json.dumps(messages(USER | {"content": "first"}, SAID)).encode()
    path = write(tmp_path, b"\xef\xbb\xbf" + first, b"", b"  ", GOOD, b"{", GOOD, end=b"\r\n")
    file = ExampleFile(path, "supervised")
    assert [line.number for line, _ in file.scan()] == [1, 4, 6]
    assert [str(fault)[:7] for fault in file.faults.kept] == ["line 5:"]
    assert file[0].messages[0].content == "first"
    assert file[2] == parse(GOOD, "supervised")
    with pytest.raises(InvalidRequest, match=r"1 line must be corrected.\nline 5: it is not valid JSON"):
        file.check()


def test_faults_are_counted_and_the_first_told(tmp_path):
    file = ExampleFile(write(tmp_path, *[b"{}"] * 30), "supervised", name="validation file", param="validation_file")
    assert list(file.scan()) == []
    with pytest.raises(InvalidRequest) as found:
        file.check()
    assert found.value.param == "validation_file"
    assert "30 lines must be corrected" in found.value.message
    assert found.value.message.count("\nline ") == lines.MAX_KEPT
    assert found.value.message.endswith("and 10 more")


@pytest.mark.parametrize("num", [0, 9])
def test_few_examples_are_refused(tmp_path, num):
    file = ExampleFile(write(tmp_path, *[GOOD] * num), "supervised")
    list(file.scan())
    with pytest.raises(InvalidRequest, match=f"has {num} examples: at least 10"):
        file.check()


def test_a_line_that_is_too_long_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 200)
    long = b'{"prompt": "' + b"x" * 200_000 + b'"}'
    file = ExampleFile(write(tmp_path, GOOD, long, GOOD, long), "supervised")
    assert [line.number for line, _ in file.scan()] == [1, 3]
    assert file[1] == file[0]
    assert [fault.line for fault in file.faults.kept] == [2, 4]


def test_a_file_has_only_so_many_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_EXAMPLES", 3)
    faults = Faults()
    assert len(list(read_lines(write(tmp_path, *[GOOD] * 9), faults))) == 3
    assert "split it" in faults.kept[0].message
