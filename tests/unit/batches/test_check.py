"""Whether a file is a batch: every code, with its line, however the bytes come in."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.batches import check as module
from mainspring.batches.check import Check
from mainspring.batches.order import key_of
from mainspring.core.errors import ModelNotFound, OperationNotSupported


def find(name: str) -> None:
    if name == "vectors":
        raise OperationNotSupported("It makes embeddings.", param="model")
    if name != "m":
        raise ModelNotFound(f"The model {name!r} does not exist.", param="model")


def request(name: str = "a", **changes: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body, **changes}


def look(*lines: Any, path: str = "/chat/completions", model: str = "", finer: bool = True, cut: int = 7) -> Check:
    data = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    found = Check(path=path, model=model, find=find, finer=finer)
    for start in range(0, len(data), cut):
        found.feed(data[start : start + cut])
    found.end()
    return found


def only(found: Check) -> tuple[str, int | None, str | None]:
    [fault] = found.faults
    assert fault.message.endswith(".")
    return fault.code, fault.line, fault.param


BODY = request()["body"]


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"custom_id": "\xff"}', "invalid_json_line", None),
        (b"[" * 5000, "invalid_json_line", None),
        (request("b", url="/v1/embeddings"), "url_mismatch", "url"),
        (request("a"), "duplicate_custom_id", "custom_id"),
        (request("b", body={**BODY, "model": "n"}), "model_mismatch", "body.model"),
        (request("b", method="GET"), "invalid_request", "method"),
        (request(""), "invalid_request", "custom_id"),
        (request("x" * 513), "invalid_request", "custom_id"),
        (request("b", custom_id=7), "invalid_request", "custom_id"),
        (request("b", body=[]), "invalid_request", "body"),
        (request("b", body={**BODY, "stream": True}), "invalid_request", "body.stream"),
        (request("b", body={**BODY, "background": True}), "invalid_request", "body.background"),
        (request("b", body={**BODY, "model": 1}), "invalid_request", "body.model"),
        (request("b", extra=1), "unknown_parameter", "extra"),
        ({**{k: v for k, v in request("b").items() if k != "method"}}, "missing_required_parameter", "method"),
        (request("b", body={"messages": []}), "missing_required_parameter", "body.model"),
    ],
)
def test_item_52_a_wrong_line_has_a_code_and_its_number(line: Any, code: str, param: str | None) -> None:
    found = look(request("a"), b"", line, request("z"))
    assert only(found) == (code, 3, param)
    if code in ("missing_required_parameter", "unknown_parameter"):
        assert only(look(request("a"), b"", line, finer=False)) == ("invalid_request", 3, param), "as Azure has it"


def test_item_52_a_file_without_requests() -> None:
    assert only(look()) == ("empty_file", None, None)
    assert only(look(b"", b"  ", b"")) == ("empty_file", None, None)


def test_item_52_too_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REQUESTS", 3)
    assert not look(*(request(str(at)) for at in range(3))).faults
    assert only(look(*(request(str(at)) for at in range(9)))) == ("too_many_tasks", 4, None)


def test_item_52_models() -> None:
    none = look(request("a", body={**BODY, "model": "none"}))
    assert only(none) == ("model_not_found", 1, "body.model")
    other = look(request("a", body={**BODY, "model": "vectors"}))
    assert only(other) == ("invalid_request", 1, "body.model")


def test_the_path_may_name_the_model() -> None:
    bare = request("a", body={"messages": []})
    assert look(bare, model="m").model == "m"
    assert only(look(request("a"), model="other"))[0] == "model_mismatch"


def test_a_batch_of_vectors_has_so_many_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INPUTS", 4)

    def ask(name: str, given: Any) -> dict[str, Any]:
        return request(name, url="/v1/embeddings", body={"model": "m", "input": given})

    fits = look(ask("a", "one"), ask("b", ["two", "three"]), ask("c", [1, 2, 3]), path="/embeddings")
    assert not fits.faults
    assert [each.key for each in fits.inputs] == [b""] * 3
    assert only(look(ask("a", ["x"] * 4), ask("b", "y"), path="/embeddings")) == ("too_many_tasks", 2, "body.input")


def test_azure_leaves_out_the_v1() -> None:
    assert not look(request("a", url="/chat/completions"), request("b")).faults


def test_no_more_is_told_than_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(*([request("a", method="GET")] * 300))
    assert found.is_over
    assert len(found.faults) == module.MAX_FAULTS
    monkeypatch.setattr(module, "MAX_LINE", 100)
    assert only(look(request("a"), request("b" * 200))) == ("invalid_json_line", 1, None)


@given(
    st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True),
    st.integers(1, 50), st.booleans(), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\n\n"]),
)  # fmt: skip
def test_every_request_is_where_it_is_said_to_be(
    names: list[str], cut: int, has_mark: bool, is_ended: bool, end: bytes
) -> None:
    lines = [json.dumps(request(name), ensure_ascii=len(name) % 2 == 0).encode() for name in names]
    data = (b"\xef\xbb\xbf" if has_mark else b"") + end.join(lines) + (end if is_ended else b"")
    found = Check(path="/chat/completions", model="", find=find, finer=True)
    for start in range(0, len(data), cut):
        found.feed(data[start : start + cut])
    found.end()
    assert not found.faults
    assert [msgspec.json.decode(each.placed.custom_id) for each in found.inputs] == names
    for each, name in zip(found.inputs, names, strict=True):
        at = each.placed
        assert json.loads(data[at.start : at.start + at.length])["custom_id"] == name


def raw(body: dict[str, Any]) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])


def test_what_begins_alike_is_together() -> None:
    def ask(prefix: str, rest: str) -> dict[str, msgspec.Raw]:
        system, user = {"role": "system", "content": prefix}, {"role": "user", "content": rest}
        return raw({"temperature": len(rest), "model": "m", "messages": [system, user]})

    prefixes = ["a" * 3000, "b" * 3000, "a" * 1500 + "c" * 1500]
    asked = [(which, key_of(ask(prefixes[which], str(at)))) for at, which in enumerate([0, 1, 2] * 20)]
    order = [which for which, _ in sorted(asked, key=lambda each: each[1])]
    assert order.count(0) == 20
    changes = [(before, after) for before, after in itertools.pairwise(order) if before != after]
    assert len(changes) == 2, "each beginning is one group"
    assert order[0] == 1 or order[-1] == 1, "what shares half of a beginning is beside it"


@given(st.text(max_size=2000), st.text(max_size=2000), st.text(max_size=2000))
def test_a_shared_beginning_is_a_shared_start_of_the_key(shared: str, one: str, other: str) -> None:
    first, second = (key_of({"prompt": msgspec.Raw((shared + rest).encode())}) for rest in (one, other))
    num_shared = len(shared.encode())
    levels = sum(length <= num_shared for length in (128 << step for step in range(10)))
    assert first[: 4 * levels] == second[: 4 * levels]
