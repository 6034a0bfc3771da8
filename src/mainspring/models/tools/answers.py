"""What is read of a model's answer: text to show, thoughts, and calls. The words that readers of all formats share."""

import secrets
import string
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from mainspring.core.types import Tool
from mainspring.models.tools.notation import MalformedError, unwrap

__all__ = ["Called", "Calls", "Output", "Reader", "Said", "new_call_id"]

ID_CHARS = string.ascii_letters + string.digits


class Said(NamedTuple):
    """Text to show: content, or thought. `at` is where it began in everything that was pushed (characters)."""

    at: int
    text: str
    thought: bool = False


class Called(NamedTuple):
    """More of call `number`, counted from 0; the first has its id and name."""

    number: int
    arguments: str
    id: str = ""
    name: str = ""
    is_custom: bool = False


Output = Said | Called


class Reader(Protocol):
    """What reads a model's answer."""

    @property
    def done(self) -> bool:
        """Nothing that follows matters: one call was allowed and is complete."""
        ...

    @property
    def num_calls(self) -> int:
        """Calls told so far."""
        ...

    def push(self, text: str) -> list[Output]:
        """More text; returns what is decided now."""
        ...

    def finish(self) -> list[Output]:
        """The end; returns what was held back. What began as a call and was cut off before it could be told is
        dropped: half a marker helps nobody."""
        ...


def new_call_id() -> str:
    """`call_` and 24 random characters, as OpenAI writes them."""
    return "call_" + "".join(secrets.choice(ID_CHARS) for _ in range(24))


class Calls:
    """Numbers, names and ids of an answer's calls, and the form of their arguments."""

    def __init__(self, tools: Mapping[str, Tool], new_id: Callable[[], str]) -> None:
        self.tools = tools
        self.num = 0
        self._new_id = new_id
        self._wrapped = ""
        self._custom = self._raw = False

    def open(self, name: str) -> Called:
        """A call begins; raises MalformedError for a tool that may not be called."""
        if name not in self.tools:
            raise MalformedError(name)
        self._custom = self.tools[name].is_custom
        self._raw = self.tools[name].custom is not None
        self._wrapped = ""
        self.num += 1
        return Called(self.num - 1, "", self._new_id(), name, self._custom)

    def more(self, arguments: str) -> list[Output]:
        """More of the open call's arguments. A custom tool's are told when they are complete."""
        if self._custom:
            self._wrapped += arguments
            return []
        return [Called(self.num - 1, arguments)] if arguments else []

    def close(self) -> list[Output]:
        """The open call is complete, or the answer ends in it."""
        wrapped, self._wrapped = self._wrapped, ""
        if not wrapped:
            return []
        return [Called(self.num - 1, wrapped if self._raw else unwrap(wrapped), is_custom=True)]
