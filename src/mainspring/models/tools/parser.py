"""From a model's text to what it said, what it thought, and what it called. Pure; fed with pieces of text.

However the text is cut into pieces, the result is the same: every decision rests on characters that have arrived, never
on where a piece ended. What may turn out to be a marker is held back. A call that is not well formed becomes plain text
with its marker; once a call's name and the beginning of its arguments have been told, it stays a call.
"""

import re
from collections.abc import Callable, Iterable

from mainspring.core.types import Tool
from mainspring.models.tools.answers import Calls, Output, Said, new_call_id
from mainspring.models.tools.formats import Format
from mainspring.models.tools.notation import (
    JsonEnd,
    MalformedError,
    read_gemma,
    read_head,
    read_tail,
    read_xml,
)

__all__ = ["TextParser"]

MAX_HEAD_CHARS = 4096
"""What stands before a call's arguments is shorter, or it is no call."""

_AFTER = re.compile(r"```|<[^>]*>")
MIN_MARKER_CHARS = 4
"""An answer that ends with so much of a marker was cut off inside it; what is shorter is text."""

SPACE = " \t\r\n"


class _MoreError(Exception):
    """Not decided yet."""


class TextParser:
    """Reads every format with sections of calls (all but harmony).

    Args:
        format_: how calls are written; None if none may be made.
        tools: the tools that may be called, by name.
        think: the tags around thoughts, if the model has them.
        thinking: the prompt ended inside a thought.
        single: one call is allowed.
        new_id: makes ids.
    """

    def __init__(
        self,
        format_: Format | None,
        tools: Iterable[Tool] = (),
        *,
        think: tuple[str, str] | None = None,
        thinking: bool = False,
        single: bool = False,
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        self._format = format_
        self._calls = Calls({tool.name: tool for tool in tools}, new_id)
        self._think = think
        self._single = single
        self._buffer = ""  # what is not decided
        self._at = 0  # where the buffer begins in all of the text
        self._final = False
        self._out: list[Output] = []
        self._said = False  # anything but white space and thoughts
        self._trim = thinking  # white space is dropped until something else comes
        self._gap = ""  # white space before a marker: dropped with it
        self._marker = ""  # what opened this section, until its first call is certain
        self._json = JsonEnd(format_.end if format_ else ())
        self._shape: str = "object"  # of what is being read: object, list, named
        self._state: Callable[[], None] = self._thought if thinking else self._text
        begins = format_.begin if format_ else ()
        self._marks = (*begins, think[0]) if think else begins
        self.done = False

    @property
    def num_calls(self) -> int:
        """See `Reader`."""
        return self._calls.num

    def push(self, text: str) -> list[Output]:
        """See `Reader`."""
        self._buffer += text
        return self._run()

    def finish(self) -> list[Output]:
        """See `Reader`."""
        self._final = True
        if self.num_calls and self._state == self._text and self._buffer.isspace():
            self._buffer = ""
        self._run()
        if self._state in (self._arguments, self._tail):
            self._out += self._calls.close()
        out, self._out = self._out, []
        return out

    def _run(self) -> list[Output]:
        while not self.done:
            before = self._state, len(self._buffer)
            try:
                self._state()
            except _MoreError:
                break
            except MalformedError:
                self._reject()
            if (self._state, len(self._buffer)) == before:
                break
        out, self._out = ([], self._out) if self._final else (self._out, [])
        return out

    # -- text ----------------------------------------------------------------------------------------------------------

    def _take(self, count: int) -> str:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        self._at += count
        return taken

    def _say(self, count: int, *, thought: bool = False) -> None:
        at = self._at
        text = self._take(count)
        if text:
            self._out.append(Said(at, text, thought))
            self._said = self._said or (not thought and not text.isspace())

    def _skip_space(self) -> None:
        if self._trim:
            self._take(len(self._buffer) - len(self._buffer.lstrip(SPACE)))
            self._trim = not self._buffer

    def _find(self, marks: tuple[str, ...]) -> tuple[int, str]:
        """The first marker's place and name; without one, how much of the buffer can be shown, and ""."""
        found = [(at, mark) for mark in marks if (at := self._buffer.find(mark)) >= 0]
        if found:
            return min(found)
        if self._final:
            cut = max((_num_shared(self._buffer, mark) for mark in marks), default=0)
            return len(self._buffer) - (cut if cut >= MIN_MARKER_CHARS else 0), ""
        longest = max(map(len, marks), default=1)
        for at in range(max(0, len(self._buffer) - longest + 1), len(self._buffer)):
            if any(mark.startswith(self._buffer[at:]) for mark in marks):
                return len(self._buffer[:at].rstrip(SPACE)), ""
        return len(self._buffer.rstrip(SPACE)), ""

    def _text(self) -> None:
        self._skip_space()
        if self._format and self._format.bare and not self._said and self._buffer.lstrip(SPACE).startswith("{"):
            self._gap = self._take(len(self._buffer) - len(self._buffer.lstrip(SPACE)))
            return self._open("")
        at, mark = self._find(self._marks)
        if not mark:
            return self._say(at)
        self._say(len(self._buffer[:at].rstrip(SPACE)))
        if self._think and mark == self._think[0] and self._said:
            return self._say(self._buffer.find(mark) + len(mark))
        self._gap = self._take(self._buffer.find(mark))
        self._take(len(mark))
        if self._think and mark == self._think[0]:
            self._trim, self._state = True, self._thought
            return None
        return self._open(mark)

    def _thought(self) -> None:
        assert self._think is not None
        self._skip_space()
        at, mark = self._find(self._think[1:])
        if not mark:
            return self._say(at, thought=True)
        self._say(len(self._buffer[:at].rstrip(SPACE)), thought=True)
        self._take(self._buffer.find(mark) + len(mark))
        self._trim, self._state = True, self._text
        return None

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _open(self, mark: str) -> None:
        self._marker = mark
        self._state = self._head

    def _reject(self) -> None:
        """No call after all: the marker and the white space before it were text, and so is whatever follows."""
        text = self._gap + self._marker
        if text:
            self._out.append(Said(self._at - len(text), text))
        if not self._marker and self._buffer:
            self._say(1)  # the brace of a bare object, or whatever a list of calls went on with
        self._said = True
        self._gap = self._marker = ""
        self._trim, self._state = False, self._text

    def _limited(self) -> str:
        return self._buffer[:MAX_HEAD_CHARS]

    def _more(self) -> Exception:
        """What is read is not complete: wait, unless it is too long."""
        return MalformedError() if len(self._buffer) >= MAX_HEAD_CHARS else _MoreError()

    def _head(self) -> None:
        """From after a marker to the beginning of the arguments."""
        assert self._format is not None
        text = self._limited().lstrip(SPACE)
        if not text:
            raise self._more()
        if text.startswith("<function=") or (not self._final and "<function=".startswith(text)):
            return self._read_block("</function>", text.startswith("<function="))
        if self._format.layout == "gemma" and text[0] != "{":
            return self._read_block(self._format.end[self._format.begin.index(self._marker)], ready=True)
        if text[0] == "[":
            self._shape = "list"
            self._marker += self._take(self._buffer.index("[") + 1)
            self._state = self._item
        elif text[0] == "{":
            self._shape = "object"
            self._state = self._item
        elif self._format.layout == "named":
            self._shape = "named"
            self._state = self._named
        else:
            raise MalformedError
        return None

    def _commit(self, name: str, consumed: int) -> None:
        """A call is certain."""
        called = self._calls.open(name)
        self._out.append(called)
        self._take(consumed)
        self._gap = self._marker = ""

    def _named(self) -> None:
        assert self._format is not None
        assert self._format.head is not None
        text = self._limited()
        brace = text.find("{")
        if brace < 0:
            raise self._more()
        found = self._format.head.fullmatch(text[:brace])
        if found is None:
            raise MalformedError
        self._commit(found["name"], brace)
        self._json.reset()
        self._state = self._arguments

    def _item(self) -> None:
        """An object with a name and arguments, up to the beginning of the arguments."""
        head = read_head(self._limited())
        if head is None:
            raise self._more()
        self._commit(head.name, head.end)
        if head.arguments == "{}" and self._calls.tools[head.name].custom is not None:
            self._state = self._raw
            return None
        if head.arguments is not None:  # complete already
            self._out += self._calls.more(head.arguments) + self._calls.close()
            return self._close_call()
        self._json.reset()
        self._state = self._arguments
        return None

    def _arguments(self) -> None:
        count = self._json.feed(self._buffer, final=self._final)
        self._out += self._calls.more(self._take(count))
        if not self._json.done:
            return
        self._out += self._calls.close()
        self._state = self._tail if self._shape != "named" else self._between
        if self._shape == "named":
            self._close_call()

    def _raw(self) -> None:
        """The input of a custom tool with a grammar, as it stands (see `Format.raw`), up to the section's end."""
        assert self._format is not None
        end = self._format.raw_end
        at = self._buffer.find(end) if end else -1
        if at < 0 and not self._final:
            raise _MoreError
        text = self._take(at if at >= 0 else len(self._buffer) - _num_shared(self._buffer, end))
        self._out += self._calls.more(text.removeprefix("\n")) + self._calls.close()
        self._take(len(end) if at >= 0 else len(self._buffer))
        self.done = self._single
        self._leave()

    def _tail(self) -> None:
        """The rest of a call's object after its arguments."""
        try:
            end = read_tail(self._limited())
        except MalformedError:
            return self._close_call()
        if end is None:
            if self._final or len(self._buffer) >= MAX_HEAD_CHARS:
                return self._close_call()
            raise _MoreError
        self._take(end)
        return self._close_call()

    def _close_call(self) -> None:
        self.done = self._single
        self._state = self._between

    def _between(self) -> None:
        """After a call: another, or the end of the section."""
        assert self._format is not None
        format_ = self._format
        text = self._buffer.lstrip(SPACE)
        if not text and not self._final:
            raise _MoreError
        closers = tuple(mark for mark in (*format_.end, *_AFTER.findall(format_.after)) if mark)
        for mark in closers:
            if text.startswith(mark):
                self._take(len(self._buffer) - len(text) + len(mark))
                if mark in format_.end:
                    self._leave()
                return
        if self._shape == "list" and text.startswith("]"):
            self._take(len(self._buffer) - len(text) + 1)
            self._shape = "object"
            return
        partial = (*closers, format_.before if self._shape == "named" else "")
        if text and not self._final and any(mark.startswith(text) for mark in partial):
            raise _MoreError
        self._between_calls(text)

    def _between_calls(self, text: str) -> None:
        assert self._format is not None
        before = self._format.before
        if self._shape == "named" and before and text.startswith(before[: before.find(">") + 1] or before):
            self._state = self._named
            return
        if text[:1] in (",", ";") and self._shape != "named":
            rest = text[1:].lstrip(SPACE)
            if not rest and not self._final:
                raise _MoreError
            if rest.startswith("{"):
                self._take(len(self._buffer) - len(rest))
                self._state = self._item
                return
        if self._final and any(mark.startswith(text) for mark in self._format.end if mark):
            self._take(len(self._buffer))  # cut off inside the closing marker
        self._leave()

    def _leave(self) -> None:
        # White space after a call is no text unless some follows, and then only if some came before.
        self._trim, self._state = not self._said, self._text

    # -- calls that are read whole -------------------------------------------------------------------------------------

    def _read_block(self, end: str, ready: bool) -> None:
        if not ready:
            raise _MoreError
        self._block_end, self._searched = end, 0
        self._state = self._block

    def _block(self) -> None:
        assert self._format is not None
        at = self._buffer.find(self._block_end, self._searched)
        if at < 0:
            self._searched = max(0, len(self._buffer) - len(self._block_end))
            raise _MoreError
        text = self._buffer[:at]
        name, arguments = (
            read_xml(text, self._calls.tools) if self._block_end == "</function>" else read_gemma(text.strip())
        )
        self._commit(name, at + len(self._block_end))
        self._out += self._calls.more(arguments) + self._calls.close()
        self._shape = "object"
        self._close_call()
        if self._block_end in self._format.end:
            self._leave()


def _num_shared(text: str, mark: str) -> int:
    """Length of the longest end of `text` that begins `mark`."""
    return next((size for size in range(min(len(mark), len(text)), 0, -1) if mark.startswith(text[-size:])), 0)
