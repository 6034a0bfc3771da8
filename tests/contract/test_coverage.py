"""docs/API.md is what the code does, and says so about every field and path of OpenAI's document."""

from scripts import coverage
from tests.contract.spec import SPEC


def test_the_page_has_not_drifted() -> None:
    assert coverage.PAGE.read_text("utf-8") == coverage.page(), "run python scripts/coverage.py"


def test_every_field_and_path_is_on_the_page() -> None:
    page = coverage.page()
    for _, schema, _ in coverage.REQUESTS:
        for field in coverage.spec_fields(SPEC["$defs"][schema]):
            assert f"| `{field}` |" in page
    for path, methods in SPEC["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in page


def test_fields_are_found_through_allof() -> None:
    fields = set(coverage.spec_fields(SPEC["$defs"]["CreateChatCompletionRequest"]))
    assert {"messages", "temperature", "metadata", "top_logprobs"} <= fields


def test_what_a_field_takes() -> None:
    assert coverage.takes({"type": "null"}, {}) == ""
    assert coverage.takes({"anyOf": [{"type": "number", "minimum": 0, "maximum": 2}, {"type": "null"}]}, {}) == (
        "number 0 to 2"
    )
    assert coverage.takes({"type": "array", "items": {"$ref": "#/$defs/x"}, "maxItems": 4}, {"x": {"const": "a"}}) == (
        'array of `"a"`, up to 4'
    )
