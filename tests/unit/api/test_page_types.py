"""What the pages take the server's answers for is what the server's own description says."""

import re

from scripts import page_types


def test_the_types_have_not_drifted() -> None:
    assert page_types.PAGE.read_text() == page_types.page(), "run `python scripts/page_types.py`"


def test_each_named_type_is_there_once() -> None:
    text = page_types.page()
    made = re.findall(r"^export (?:interface|type) (\w+)", text, re.MULTILINE)
    assert len(made) == len(set(made))
    assert set(page_types.READ) <= set(made)
    used = set(re.findall(r"\b[A-Z]\w+(?=[;\[\]> |)])", re.sub(r"/\*.*?\*/|\"[^\"]*\"", "", text, flags=re.DOTALL)))
    assert used - {"Record"} <= set(made)


def test_what_a_schema_says_is_what_a_type_says() -> None:
    schema = {
        "description": "One.\n\nArgs: more.",
        "properties": {
            "a": {"type": "integer", "default": 1},
            "b-c": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "d": {"type": "array", "items": {"anyOf": [{"$ref": "#/components/schemas/x.y.Z"}, {"type": "null"}]}},
            "e": {"type": "object", "additionalProperties": {"type": "number"}},
            "f": {"enum": ["x", "y"]},
            "g": {"type": "array"},
            "h": {},
        },
        "required": ["b-c", "d", "e", "f"],
    }
    assert page_types.interface("T", schema) == (
        '/** One. */\nexport interface T {\n  a: number;\n  "b-c": string | null;\n  d: (Z | null)[];\n'
        '  e: Record<string, number>;\n  f: "x" | "y";\n  g?: unknown[];\n  h?: unknown;\n}\n'
    )
