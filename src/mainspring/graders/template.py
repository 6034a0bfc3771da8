"""Templates of graders: `{{ item.answer }}`, `{{ sample.output_json.steps[0] }}`.

Paths and nothing else: no expression, no filter, no attribute of anything, and what is filled in is never looked at
again. Strings stand as they are; everything else is written as JSON, since OpenAI's guide does not say.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.graders.result import GraderFailed

__all__ = ["MAX_RENDERED", "Template", "parse"]

MAX_TEMPLATE = 256 * 1024
MAX_RENDERED = 1024 * 1024
"""Characters of a filled-in template."""

_PATH = re.compile(r"""\s*(item|sample)((?:\.\w[\w-]*|\[\d{1,9}\]|\["[^"{}]*"\]|\['[^'{}]*'\])*)\s*""")
_STEP = re.compile(r"""\.(\w[\w-]*)|\[(\d+)\]|\["([^"]*)"\]|\['([^']*)'\]""")

Step = str | int


class Template:
    """Text with paths in it.

    Args:
        parts: text, or the steps of a path, of which the first is the namespace.
    """

    def __init__(self, parts: tuple[str | tuple[Step, ...], ...]) -> None:
        self.parts = parts

    def render(self, scope: Mapping[str, Any]) -> str:
        """The text with what the paths lead to in `scope`, which has item and sample.

        Raises:
            GraderFailed: a path leads nowhere, or the text becomes too long.
        """
        pieces: list[str] = []
        room = MAX_RENDERED
        for part in self.parts:
            piece = part if isinstance(part, str) else _written(_follow(part, scope))
            room -= len(piece)
            if room < 0:
                raise GraderFailed("other_error", f"A template became longer than {MAX_RENDERED} characters.")
            pieces.append(piece)
        return "".join(pieces)


def parse(text: str, where: str) -> Template:
    """Take a template apart.

    Args:
        where: its place in the request, for errors.

    Raises:
        InvalidRequest: braces that hold no path, or are not closed.
    """
    if len(text) > MAX_TEMPLATE:
        raise InvalidRequest(f"Invalid '{where}': a template has at most {MAX_TEMPLATE} characters.", param=where)
    return Template(tuple(_parts(text, where)))


def _parts(text: str, where: str) -> Iterator[str | tuple[Step, ...]]:
    at = 0
    while (start := text.find("{{", at)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise InvalidRequest(f"Invalid '{where}': the braces in {text[start:][:40]!r} are not closed.", param=where)
        found = _PATH.fullmatch(text, start + 2, end)
        if found is None:
            raise InvalidRequest(
                f"Invalid '{where}': {text[start : end + 2][:80]!r} is no variable. Write {{{{ item.name }}}} or "
                "{{ sample.output_text }}; nested values are named like item.list[0].name.",
                param=where,
            )
        if start > at:
            yield text[at:start]
        yield (found[1], *_steps(found[2]))
        at = end + 2
    if at < len(text):
        yield text[at:]


def _steps(path: str) -> Iterator[Step]:
    for name, index, double, single in _STEP.findall(path):
        yield int(index) if index else name or double or single


def _follow(path: tuple[Step, ...], scope: Mapping[str, Any]) -> Any:
    here: Any = scope
    for place, step in enumerate(path):
        try:
            here = _into(here, step)
        except (KeyError, IndexError):
            raise _lost(path, place, scope) from None
        if here is None and path[: place + 1] == ("sample", "output_json"):
            raise _lost(path, place, scope)
    return here


def _into(here: Any, step: Step) -> Any:
    if isinstance(here, Mapping):
        return cast("Mapping[str, Any]", here)[str(step)]
    if isinstance(here, list | tuple) and str(step).isascii() and str(step).isdigit():
        return cast("list[Any]", here)[int(step)]
    raise KeyError(step)


def _lost(path: tuple[Step, ...], place: int, scope: Mapping[str, Any]) -> GraderFailed:
    shown = ".".join(str(step) for step in path)[:80]
    if path[:2] == ("sample", "output_json") and place == 1:
        if scope["sample"].get("truncated"):
            return GraderFailed("truncated_observation_error", f"The answer was cut, so {shown} could not be read.")
        return GraderFailed("sample_parse_error", f"The answer is not JSON, so {shown} could not be read.")
    return GraderFailed("invalid_variable_error", f"There is no {shown}.")


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        raise GraderFailed("other_error", "A value could not be written as JSON.") from None
