"""docs/API.md is what the code does, and says so about every operation of OpenAI's and Azure's documents; what was
reached once is not lost."""

import copy
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from mainspring.api.openai.wire_base import NotYet, Wire
from mainspring.api.openapi import Operation
from scripts import coverage
from scripts.coverage_operations import PACKAGES, azure_operations
from scripts.coverage_properties import Measure, Schema, measure, names_of, share

SPEC = coverage.SPEC


def test_the_page_has_not_drifted() -> None:
    assert coverage.PAGE.read_text("utf-8") == coverage.page(), "run python scripts/coverage.py"


def test_nothing_that_was_reached_is_lost_and_the_floor_is_as_high_as_it_can_be() -> None:
    floor, now = coverage.read_floor(), coverage.reached()
    assert coverage.fallen(floor, now) == []
    assert coverage.raised(floor, now) == floor, "run python scripts/coverage.py"


def test_every_operation_is_on_the_page() -> None:
    page = coverage.page()
    for name in (
        *SPEC["operations"],
        *PACKAGES,
        *(each for them in azure_operations(SPEC["operations"]).values() for each in them),
    ):
        assert f"`{name}`" in page


def test_every_field_of_a_body_is_on_the_page() -> None:
    page = coverage.page()
    for row in coverage.rows():
        if row.taken is not None and next(iter(row.served.values())).body is not None:
            for field in coverage.top_names(row.name):
                assert f"| `{field}` |" in page, row.name


def test_what_the_program_says_is_what_the_tests_say() -> None:
    done = subprocess.run([sys.executable, coverage.__file__, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# -- the floor ---------------------------------------------------------------------------------------------------------


def changed(**changes: Any) -> dict[str, Any]:
    now = copy.deepcopy(coverage.reached())
    for name, value in changes.get("shares", {}).items():
        now["shares"][name] = value
    now["operations"] |= changes.get("operations", {})
    return now


def test_a_share_that_falls_is_noticed_and_never_written_down() -> None:
    floor, name = coverage.read_floor(), "POST /completions"
    less = changed(shares={name: [50.0, floor["shares"][name][1]]})
    [said] = coverage.fallen(floor, less)
    assert said == "POST /completions: 50 % of its properties are taken; 100 % were"
    assert coverage.raised(floor, less) == floor


def test_an_operation_that_goes_is_noticed() -> None:
    floor, less = coverage.read_floor(), changed()
    del less["shares"]["POST /completions"]
    less["operations"]["OpenAI"] -= 1
    assert len(coverage.fallen(floor, less)) == 2
    assert coverage.raised(floor, less) == floor


def test_the_floor_rises_with_what_is_reached() -> None:
    floor = coverage.read_floor()
    more = changed(shares={"POST /new": [10.0, None]}, operations={"OpenAI": floor["operations"]["OpenAI"] + 1})
    raised = coverage.raised(floor, more)
    assert coverage.fallen(floor, more) == []
    assert raised["shares"]["POST /new"] == [10.0, None]
    assert raised["operations"]["OpenAI"] == floor["operations"]["OpenAI"] + 1
    assert json.loads(coverage.dump(raised)) == raised


def test_a_share_is_rounded_down() -> None:
    assert share(Measure(2, (("a",),))) == 66.6
    assert share(Measure(999, (("a",),))) == 99.9
    assert share(Measure(3)) == 100
    assert share(Measure(0, (), (("a",),))) is None


# -- what is measured --------------------------------------------------------------------------------------------------


def test_names_are_found_through_references_arrays_and_unions_to_the_third_level() -> None:
    schemas = {"A": {"": "a b", "c": {"$": ["B", "C"]}}, "B": {"": "d", "again": {"$": ["A"]}}, "C": {"[]": {"": "e"}}}
    assert set(names_of({"$": ["A"], "": "x"}, schemas)) == {
        ("x",), ("a",), ("b",), ("c",), ("c", "d"), ("c", "e"), ("c", "again"), ("c", "again", "a"),
        ("c", "again", "b"), ("c", "again", "c"),
    }  # fmt: skip


def test_names_of_openais_document() -> None:
    chat = SPEC["operations"]["POST /chat/completions"]
    asked = set(names_of(chat["request"], SPEC["schemas"]))
    assert {("messages",), ("temperature",), ("metadata",), ("tools", "function", "name")} <= asked
    assert ("choices", "message", "content") in set(names_of(chat["reply"], SPEC["schemas"]))
    assert ("choices", "delta", "content") in set(names_of(chat["event"], SPEC["schemas"]))


class Inner(Wire):
    here: int | None = None


class Body(Wire):
    plain: str
    refused: NotYet = None
    one: Inner | None = None
    many: list[Inner] | None = None
    free: dict[str, Any] | None = None


class Reply(msgspec.Struct):
    name: str
    more: list[dict[str, Any]]
    never: None = None


async def nothing(_: Any) -> Any:
    raise NotImplementedError


def test_a_property_is_taken_if_something_else_than_null_is() -> None:
    ours = Operation(
        method="POST", path="/x", handler=nothing, name="x", summary="", reply=Reply, needs=None, body=Body,
        query=("x/after",),
    )  # fmt: skip
    from pydantic.json_schema import models_json_schema

    components = models_json_schema([(Body, "validation")], ref_template="#/components/schemas/{model}")[1]["$defs"]
    inside = {"": "here gone"}
    theirs = {
        "query": {"": "after before"},
        "request": {"": "plain refused", "one": inside, "many": {"[]": inside}, "free": inside},
        "reply": {"": "name never other", "more": {"[]": inside}},
    }
    taken, returned = measure(theirs, {}, ours, components)
    assert taken.missing == (("before",), ("many", "gone"), ("one", "gone"), ("refused",))
    assert taken.open == (("free", "gone"), ("free", "here"))
    assert taken.have == 7
    assert returned == Measure(2, (("never",), ("other",)), (("more", "gone"), ("more", "here")))


def test_a_form_has_its_fields_with_what_is_inside_of_them() -> None:
    form = {"type": "object", "properties": {"expires_after[anchor]": {}, "file": {}, "list[]": {"type": "string"}}}
    ours = Operation(
        method="POST", path="/x", handler=nothing, name="x", summary="", reply=None, needs=None, form=form
    )  # fmt: skip
    theirs = {"request": {"": "file list purpose", "expires_after": {"": "anchor seconds"}}}
    assert measure(theirs, {}, ours, {})[0].missing == (("expires_after", "seconds"), ("purpose",))


def test_without_branches_nothing_is_there() -> None:
    assert Schema().find(("a",)) == "no"


@pytest.mark.parametrize(
    ("dialect", "name", "path"),
    [
        ("Azure v1", "POST /chat/completions", "/openai/v1/chat/completions"),
        ("Azure classic", "POST /chat/completions", "/openai/deployments/{deployment}/chat/completions"),
        ("Azure classic", "GET /chat/completions", "/openai/chat/completions"),
        ("Azure classic", "POST /files/import", "/openai/files/import"),
        ("Azure v1", "POST /moderations", None),
        ("Azure classic", "DELETE /models/{model}", None),
        ("Azure v1", "POST /responses?beta=true", None),
    ],
)
def test_azures_operations(dialect: str, name: str, path: str | None) -> None:
    assert azure_operations(SPEC["operations"])[dialect].get(name) == path


def test_what_a_field_takes() -> None:
    assert coverage.takes({"type": "null"}, {}) == ""
    assert coverage.takes({"anyOf": [{"type": "number", "minimum": 0, "maximum": 2}, {"type": "null"}]}, {}) == (
        "number 0 to 2"
    )
    assert coverage.takes({"type": "array", "items": {"$ref": "#/$defs/x"}, "maxItems": 4}, {"x": {"const": "a"}}) == (
        'array of `"a"`, up to 4'
    )
    assert coverage.takes({}, {}) == "anything"
