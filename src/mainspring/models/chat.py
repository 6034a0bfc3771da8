"""How a conversation is written for a model: its own Jinja template, rendered as if a stranger had written it.

The template comes out of a model file, so it runs in Jinja's immutable sandbox. The messages come from users, so the
names of control tokens inside them (`<|im_end|>`) must stay plain text: `render` cuts the prompt there, and the pieces
are tokenised one by one.
"""

import datetime
import functools
import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn, cast

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mainspring.core.errors import InvalidRequest
from mainspring.core.limits import OutOfTime, time_limit
from mainspring.core.types import Message

__all__ = ["CHATML", "ChatTemplate"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""For models without a template of their own."""

CUT = "\ufdd0"
"""A noncharacter (Unicode 16, section 23.7): never part of interchanged text. Marks where a name is cut."""

MAX_PROMPT_CHARS = 16 * 2**20
MAX_RENDER_S = 5.0


def _raise(message: str) -> NoReturn:
    raise InvalidRequest(f"The model's chat template refuses these messages: {message}", param="messages")


def _now(pattern: str) -> str:
    return datetime.datetime.now(datetime.UTC).strftime(pattern)


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


class ChatTemplate:
    """A compiled template.

    Args:
        source: Jinja; None means ChatML.
        bos, eos: the names of those tokens, as templates expect them.
        special: names of all control tokens.
    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "", special: Iterable[str] = ()) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _tojson
        cast("dict[str, Any]", environment.globals).update(raise_exception=_raise, strftime_now=_now)
        self._source = source or CHATML
        try:
            self._template = environment.from_string(self._source)
        except jinja2.TemplateError as error:
            raise InvalidRequest(f"The model's chat template does not parse: {error}", param="model") from error
        self._tokens = {"bos_token": bos, "eos_token": eos}
        names = sorted((name for name in special if len(name) > 1), key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, names))) if names else None

    def render(self, messages: Iterable[Message]) -> list[str]:
        """The prompt up to where the assistant speaks, as pieces to be tokenised separately and joined."""
        turns = [self._turn(message) for message in messages]
        try:
            with time_limit(MAX_RENDER_S):
                text = self._template.render(messages=turns, add_generation_prompt=True, **self._tokens)
        except OutOfTime:
            _raise(f"it ran for more than {MAX_RENDER_S:.0f} seconds")
        except InvalidRequest:
            raise
        except Exception as error:  # noqa: BLE001 - a template is a program of a stranger's: anything may come out of it
            _raise(str(error) or type(error).__name__)
        if len(text) > MAX_PROMPT_CHARS:
            _raise("the prompt would be too long")
        return [piece for piece in text.split(CUT) if piece]

    def _turn(self, message: Message) -> dict[str, Any]:
        role = message.role
        if role == "developer" and "developer" not in self._source:
            role = "system"  # OpenAI's newer name for the same thing; most templates know only the older
        turn: dict[str, Any] = {"role": role, "content": self._plain(message.content)}
        if message.name is not None:
            turn["name"] = self._plain(message.name)
        if message.tool_call_id is not None:
            turn["tool_call_id"] = self._plain(message.tool_call_id)
        return turn

    def _plain(self, text: str) -> str:
        text = text.replace(CUT, "")
        return self._names.sub(_cut, text) if self._names else text


@functools.lru_cache(maxsize=64)
def _cut_name(name: str) -> str:
    return name[0] + CUT + name[1:]


def _cut(found: re.Match[str]) -> str:
    return _cut_name(found.group())
