"""How the arguments of a call are written: JSON in pieces, the XML of Qwen's coders, Gemma's own notation."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from mainspring.core.types import Tool

__all__ = ["Head", "JsonEnd", "MalformedError", "read_gemma", "read_head", "read_tail", "read_xml", "unwrap"]


class MalformedError(Exception):
    """This is no call."""


def unwrap(arguments: str) -> str:
    """The free text of a custom tool out of the JSON that carries it, also if that was cut off; anything else as is."""
    whole = _CUT_ESCAPE.sub(r"\1", arguments)
    for text in (arguments, whole + '"}', whole + "}"):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(cast("dict[str, Any]", found).get("input"), str):
            return cast("dict[str, str]", found)["input"]
    return "" if _CUT_KEY.fullmatch(arguments) else arguments


_CUT_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$")
_CUT_KEY = re.compile(r"\{\s*(\"\w*\"?\s*:?\s*)?")


class JsonEnd:
    """Finds the end of a JSON object that arrives in pieces. Looks at strings and brackets only: what is inside is the
    caller's to judge. A closing marker outside of a string ends it too."""

    def __init__(self, ends: tuple[str, ...]) -> None:
        self._ends = tuple(end for end in ends if end)
        firsts = "".join({re.escape(end[0]) for end in self._ends})
        self._outside = re.compile(rf'[{{}}\[\]"{firsts}]')
        self._inside = re.compile(r'[\\"]')
        self.reset()

    def reset(self) -> None:
        """Before an object."""
        self._depth = 0
        self._in_string = False
        self.done = False

    def feed(self, text: str, *, final: bool = False) -> int:
        """How many characters of `text` belong to the object; sets `done` at its end. The rest is to be fed again."""
        at = 0
        while at < len(text):
            found = (self._inside if self._in_string else self._outside).search(text, at)
            if found is None:
                return len(text)
            at = found.start()
            char = found.group()
            if self._in_string:
                if char == "\\":
                    if at + 1 >= len(text) and not final:
                        return at
                    at += 2
                    continue
                self._in_string = False
            elif char == '"':
                self._in_string = True
            elif any(text.startswith(end, at) for end in self._ends):
                self.done = True
                return at
            elif not final and any(end.startswith(text[at:]) for end in self._ends):
                return at
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self.done = True
                    return at + 1
            at += 1
        return min(at, len(text))


class Head(NamedTuple):
    """A call's name, where its arguments begin (or, if they are complete, where it ends), and these."""

    name: str
    end: int
    arguments: str | None = None


_WHITE = re.compile(r"[ \t\r\n]*")
_LITERAL = re.compile(r"[^\s,\]}]+")
KEYS = ("name", "function", "arguments", "parameters", "type", "id", "call_id")


def _white(text: str, at: int) -> int:
    found = _WHITE.match(text, at)
    assert found is not None
    return found.end()


def _char(text: str, at: int, allowed: str) -> str:
    """The character at `at`; raises IndexError at the end of the text."""
    char = text[at]
    if char not in allowed:
        raise MalformedError
    return char


def _value(text: str, at: int) -> tuple[Any, int]:
    """A JSON value and where it ends; raises IndexError if the text ends first."""
    if text[at] == '"':
        close = at + 1
        while text[close] != '"':
            close += 2 if text[close] == "\\" else 1
        close += 1
    elif text[at] in "{[":
        end = JsonEnd(())
        close = at + end.feed(text[at:])
        if not end.done:
            raise IndexError
    else:
        found = _LITERAL.match(text, at)
        if found is None:
            raise MalformedError
        close = found.end()
        _ = text[close]  # a literal's end is known by what follows
    try:
        return json.loads(text[at:close]), close
    except (ValueError, RecursionError) as error:
        raise MalformedError from error


def read_head(text: str) -> Head | None:
    """The beginning of `{"name": ..., "arguments": {`; None if the text ends first."""
    name: str | None = None
    arguments: str | None = None
    try:
        at = _white(text, 0)
        _char(text, at, "{")
        at += 1
        while True:
            at = _white(text, at)
            if _char(text, at, '"}') == "}":
                break
            partial = text[at + 1 :].split('"', maxsplit=1)[0]
            if not any(key.startswith(partial) for key in KEYS):
                raise MalformedError
            key, at = _value(text, at)
            at = _white(text, at)
            _char(text, at, ":")
            at = _white(text, at + 1)
            if key in ("arguments", "parameters"):
                if text[at] == "{" and name is not None:
                    return Head(name, at)
                arguments, at = _whole_arguments(text, at)
            else:
                value, at = _value(text, at)
                name = _name(key, value) or name
            at = _white(text, at)
            if _char(text, at, ",}") == "}":
                break
            at += 1
    except IndexError:
        return None
    if name is None:
        raise MalformedError
    return Head(name, at + 1, arguments if arguments is not None else "{}")


def _name(key: str, value: Any) -> str | None:
    if key == "name" or (key == "function" and isinstance(value, str)):
        if not isinstance(value, str):
            raise MalformedError
        return value
    if key == "function":  # an object of its own would hide name and arguments
        raise MalformedError
    return None


def _whole_arguments(text: str, at: int) -> tuple[str, int]:
    """Arguments that come before the name, or as a string of JSON, or as nothing."""
    value, end = _value(text, at)
    if isinstance(value, dict):
        return text[at:end], end
    if value is None:
        return "{}", end
    if isinstance(value, str):
        try:
            inner: Any = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError) as error:
            raise MalformedError from error
        if isinstance(inner, dict):
            return value if value.strip() else "{}", end
    raise MalformedError


def read_tail(text: str) -> int | None:
    """Where an object ends of which the arguments have been read; None if the text ends first."""
    try:
        at = _white(text, 0)
        while _char(text, at, ",}") == ",":
            at = _white(text, at + 1)
            _char(text, at, '"')
            _, at = _value(text, at)
            at = _white(text, at)
            _char(text, at, ":")
            _, at = _value(text, _white(text, at + 1))
            at = _white(text, at)
    except IndexError:
        return None
    return at + 1


_FUNCTION = re.compile(r"\s*<function=([^>\s]+)>\n?(.*)", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>\s*", re.DOTALL)


def read_xml(text: str, tools: Mapping[str, Tool]) -> tuple[str, str]:
    """Name and arguments of `<function=name><parameter=key>value</parameter>...`: a value is text where the schema says
    string, else JSON if it is JSON."""
    found = _FUNCTION.fullmatch(text)
    if found is None:
        raise MalformedError
    name, body = found.groups()
    schema: dict[str, Any] = json.loads(tools[name].parameters) if name in tools else {}
    properties: dict[str, Any] = schema.get("properties", {})
    arguments: dict[str, Any] = {}
    at = 0
    while at < len(body):
        parameter = _PARAMETER.match(body, at)
        if parameter is None:
            if body[at:].strip():
                raise MalformedError
            break
        key, value = parameter.groups()
        declared: Any = properties.get(key) if name not in tools or not tools[name].is_custom else {"type": "string"}
        arguments[key] = _typed(value, cast("dict[str, Any]", declared) if isinstance(declared, dict) else {})
        at = parameter.end()
    return name, json.dumps(arguments, ensure_ascii=False)


def _typed(value: str, schema: dict[str, Any]) -> Any:
    if schema.get("type") == "string":
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


_GEMMA = re.compile(r"call:([^{\s]+)\s*(\{.*\})", re.DOTALL)
_QUOTE = re.compile(r'<\|"\|>|<escape>')
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w.-]*)\s*:")


def read_gemma(text: str) -> tuple[str, str]:
    """Name and arguments of `call:name{key:<|"|>text<|"|>,other:1}`; plain JSON after the name will do too."""
    found = _GEMMA.fullmatch(text)
    if found is None:
        raise MalformedError
    name, body = found.groups()
    parts = _QUOTE.split(body)  # every second part is a string
    if len(parts) % 2 == 0:
        raise MalformedError
    keyed = (_BARE_KEY.sub(r'\1"\2":', part) for part in parts[::2]) if len(parts) > 1 else iter(parts)
    written = [next(keyed)]
    for inside, outside in zip(parts[1::2], keyed, strict=True):
        written += [json.dumps(inside, ensure_ascii=False), outside]
    for candidate in ("".join(written), _BARE_KEY.sub(r'\1"\2":', body)):
        try:
            arguments = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(arguments, dict):
            return name, candidate
    raise MalformedError
