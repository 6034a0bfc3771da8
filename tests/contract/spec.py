"""Holds bodies against OpenAI's published schemas: tests/data/openai-spec.json, which extract_spec.py makes."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

__all__ = ["SPEC", "check"]

SPEC: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "openai-spec.json").read_text("utf-8"))


@cache
def _validator(schema_name: str) -> Draft202012Validator:
    if schema_name not in SPEC["$defs"]:
        raise KeyError(f"openai-spec.json has no schema {schema_name!r}")
    return Draft202012Validator({"$ref": f"#/$defs/{schema_name}", "$defs": SPEC["$defs"]})


def check(schema_name: str, body: Any) -> None:
    """Raise AssertionError with the place and the reason unless `body` is what the schema says.

    Names: CreateChatCompletionResponse, CreateChatCompletionStreamResponse (one chunk), CreateCompletionResponse,
    CreateCompletionStreamResponse (one chunk), ListModelsResponse, Model, ErrorResponse.
    """
    error = best_match(_validator(schema_name).iter_errors(body))
    assert error is None, f"{schema_name} at {error.json_path}: {error.message}"
