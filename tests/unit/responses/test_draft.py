"""A draft, its events and the fold over them are one thing, whatever is said and wherever it is broken off."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.types import TokenLogprob, ToolCallDelta
from mainspring.responses.draft import Draft, kinds_of
from mainspring.responses.events import Told, head_of
from mainspring.responses.fold import fold
from mainspring.responses.items import FileCitation, Response

TEXT = st.text(max_size=8)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), TEXT, st.booleans()),
        st.tuples(st.just("think"), TEXT),
        st.tuples(st.just("annotate"), st.integers(0, 9)),
        st.tuples(st.just("call"), st.booleans(), st.lists(TEXT, max_size=3)),
        st.tuples(st.just("tool"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("turn")),
    ),
    max_size=30,
)


def blank(**more: Any) -> Response:
    return Response(id="resp_1", created_at=1, status="in_progress", model="m", **more)


def play(draft: Draft, steps: list[tuple[Any, ...]]) -> None:
    for number, (kind, *rest) in enumerate(steps):
        match kind:
            case "say":
                logprobs = (TokenLogprob(1, b" a\xff", -0.5, ((1, b" a\xff", -0.5), (2, b"b", -1.5))),) * rest[1]
                draft.say(rest[0], logprobs)
            case "think":
                draft.think(rest[0])
            case "annotate":
                draft.annotate(FileCitation("file-1", "a.txt", rest[0]))
            case "call":
                draft.call(ToolCallDelta(0, number, "", f"call_{number}", "f", rest[0]))
                for text in rest[1]:
                    draft.call(ToolCallDelta(0, number, text, is_custom=rest[0]))
            case "tool":
                item = {"id": f"fs_{number}", "type": "file_search_call", "status": "in_progress", "queries": ["q"]}
                draft.open_tool(item)
                for _ in range(rest[0]):
                    draft.progress("response.file_search_call.searching", {})
                if rest[1]:
                    draft.close_tool({**item, "status": "completed"})
            case _:
                draft.end_turn()
                draft.turn(len(draft.output))


def texts(told: list[Told]) -> tuple[dict[Any, str], dict[Any, str]]:
    """What the deltas of each part come to, and what the events say that end it."""
    deltas: dict[Any, str] = {}
    done: dict[Any, str] = {}
    for each in told:
        event = msgspec.json.decode(each.body)
        part = event.get("item_id"), event.get("content_index"), event.get("summary_index")
        if each.type.endswith("call.searching"):
            continue
        if each.type.endswith(".delta"):
            deltas[part] = deltas.get(part, "") + event["delta"]
        elif each.type.endswith(("text.done", "arguments.done", "input.done")):
            done[part] = event["text" if "text" in event else "arguments" if "arguments" in event else "input"]
    return deltas, done


@given(STEPS, st.booleans(), st.sampled_from(["completed", "incomplete", "failed", "cancelled"]))
def test_deltas_are_the_texts_numbers_ascend_and_the_fold_is_the_response(steps, summary, status) -> None:
    draft = Draft(blank(), summary=summary, sealed=summary)
    draft.create()
    play(draft, steps)
    response = draft.finish(status=status)
    told = draft.take()
    assert [each.seq for each in told] == list(range(len(told)))
    assert all(head_of(each.body) == each for each in told)
    deltas, done = texts(told)
    assert {part: text for part, text in done.items() if text} == {part: text for part, text in deltas.items() if text}
    folded = fold([each.body for each in told])
    assert not folded.is_open
    assert folded.output == msgspec.to_builtins(response)["output"]
    if status != "cancelled":  # of which there is no event
        assert folded.response == msgspec.to_builtins(response)


@given(STEPS, STEPS, st.integers(0, 100), st.booleans())
def test_broken_off_anywhere_and_taken_up_it_goes_on_without_a_gap(before, after, at, constrained) -> None:
    whole = kinds_of(constrained=constrained)
    draft = Draft(blank(), whole=whole)
    draft.create()
    log: list[Told] = []
    for number, step in enumerate(before):
        if number >= at:
            break
        play(draft, [step])
        log += draft.take(settled=True)
    again = Draft(blank(), whole=whole)
    folded = fold([each.body for each in log])
    assert not folded.is_open or folded.output[-1]["type"] in ("message", "file_search_call")
    again.resume(folded)
    open_text = again.open_text
    assert open_text is None or not constrained
    if folded.is_open and folded.output[-1]["type"] == "message" and folded.output[-1]["content"]:
        assert open_text == folded.output[-1]["content"][0]["text"]
    play(again, after)
    response = again.finish(status="completed")
    log += again.take()
    assert [each.seq for each in log] == list(range(len(log)))
    whole_log = fold([each.body for each in log])
    assert whole_log.response == msgspec.to_builtins(response)
    assert whole_log.whole == whole_log.response
    deltas, done = texts(log)
    assert {part: text for part, text in done.items() if text} == {part: text for part, text in deltas.items() if text}


def test_what_is_not_settled_is_told_when_it_is_whole() -> None:
    draft = Draft(blank(), whole=kinds_of(constrained=False))
    draft.say("a")
    draft.call(ToolCallDelta(0, 0, "", "call_1", "f"))
    draft.call(ToolCallDelta(0, 0, '{"a"'))
    assert draft.take(settled=True)[-1].type == "response.output_item.done"  # of the message
    assert draft.take(settled=True) == []
    draft.call(ToolCallDelta(0, 0, ":1}"))
    draft.end_turn()
    told = draft.take(settled=True)
    assert [each.type for each in told] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]


def test_white_space_that_nothing_follows_is_no_message() -> None:
    draft = Draft(blank())
    draft.think("hm")
    draft.say("\n\n")
    draft.call(ToolCallDelta(0, 0, "{}", "call_1", "f"))
    draft.end_turn()
    assert [item.__struct_config__.tag for item in draft.output] == ["reasoning", "function_call"]
    draft.turn(2)
    draft.say("\n")
    draft.say("x")
    draft.end_turn()
    assert draft.output[2].content[0].text == "\nx"
    draft.turn(3)
    draft.end_turn()
    assert draft.output[3].content[0].text == ""


def test_a_tool_that_is_run_again_tells_only_what_is_new() -> None:
    item = {"id": "fs_1", "type": "file_search_call", "status": "in_progress", "queries": []}
    draft = Draft(blank())
    draft.open_tool(item)
    draft.progress("response.file_search_call.in_progress", {})
    log = draft.take()
    again = Draft(blank())
    again.resume(fold([each.body for each in log]))
    again.open_tool(item)
    again.progress("response.file_search_call.in_progress", {})
    again.progress("response.file_search_call.searching", {})
    again.close_tool({**item, "status": "completed"})
    assert [each.type for each in [*log, *again.take()]] == [
        "response.output_item.added",
        "response.file_search_call.in_progress",
        "response.file_search_call.searching",
        "response.output_item.done",
    ]
