"""Reads harmony, the format of gpt-oss: messages with a header each, which names a channel and maybe a recipient.

    <|channel|>analysis<|message|>thought<|end|><|start|>assistant<|channel|>final<|message|>content<|return|>
    <|channel|>commentary to=functions.name <|constrain|>json<|message|>{...}<|call|>

Analysis is thought; what is addressed to a function is a call; everything else is content.
"""

import re
from collections.abc import Callable, Iterable
from typing import Literal

from mainspring.core.types import Tool
from mainspring.models.tools.answers import Calls, Output, Said, new_call_id
from mainspring.models.tools.notation import MalformedError

__all__ = ["HarmonyParser"]

MAX_HEADER_CHARS = 512
MESSAGE = "<|message|>"
BEGINS = ("<|start|>", "<|channel|>", " to=", "to=", "assistant")
ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"to=functions\.([^\s<]+)")


class HarmonyParser:
    """See `parser.Reader`; the arguments are those of `TextParser`."""

    def __init__(
        self, tools: Iterable[Tool] = (), *, single: bool = False, new_id: Callable[[], str] = new_call_id
    ) -> None:
        self._calls = Calls({tool.name: tool for tool in tools}, new_id)
        self._single = single
        self._buffer = ""
        self._at = 0
        self._final = False
        self._kind: Literal["header", "thought", "content", "call"] = "header"
        self.done = False

    @property
    def num_calls(self) -> int:
        """See `Reader`."""
        return self._calls.num

    def push(self, text: str) -> list[Output]:
        """See `Reader`."""
        self._buffer += text
        out: list[Output] = []
        while not self.done and self._buffer:
            before = self._kind, len(self._buffer)
            out += self._header() if self._kind == "header" else self._body()
            if (self._kind, len(self._buffer)) == before:
                break
        return out

    def finish(self) -> list[Output]:
        """See `Reader`."""
        self._final = True
        out = self.push("")
        if self._kind == "call":
            out += self._calls.close()
        return out

    def _take(self, count: int) -> str:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        self._at += count
        return taken

    def _header(self) -> list[Output]:
        text = self._buffer[:MAX_HEADER_CHARS]
        if not text.startswith(BEGINS):
            if not any(begin.startswith(text) for begin in BEGINS):
                self._kind = "content"
            elif self._final:
                self._take(len(text))  # cut off inside a marker
            return []
        end = text.find(MESSAGE)
        if end < 0:
            if len(text) == MAX_HEADER_CHARS:
                return self._show(len(text), "content")
            if self._final:
                self._take(len(text))  # cut off inside a header: nothing was said yet
            return []
        header = text[:end]
        self._take(end + len(MESSAGE))
        channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
        self._kind = "thought" if channel and channel[1] == "analysis" else "content"
        if recipient:
            try:
                called = self._calls.open(recipient[1])
            except MalformedError:
                return []
            self._kind = "call"
            return [called]
        return []

    def _body(self) -> list[Output]:
        found = [(at, mark) for mark in ENDS if (at := self._buffer.find(mark)) >= 0]
        if not found:
            # Arguments do not end with half of a marker; content may end with anything.
            is_all = self._final and self._kind != "call"
            return self._show(len(self._buffer) if is_all else self._num_decided(), self._kind)
        at, mark = min(found)
        kind = self._kind
        out = self._show(at, kind)
        if mark in ENDS[:3]:
            self._take(len(mark))
        self._kind = "header"
        if kind == "call":
            out += self._calls.close()
            self.done = self._single
        return out

    def _num_decided(self) -> int:
        longest = max(map(len, ENDS))
        for at in range(max(0, len(self._buffer) - longest + 1), len(self._buffer)):
            if any(end.startswith(self._buffer[at:]) for end in ENDS):
                return at
        return len(self._buffer)

    def _show(self, count: int, kind: str) -> list[Output]:
        at = self._at
        text = self._take(count)
        if not text:
            return []
        return self._calls.more(text) if kind == "call" else [Said(at, text, kind == "thought")]
