"""From a model's text to what it said, what it thought, and what it called. Pure; fed with pieces of text.

However the text is cut into pieces, the result is the same: every decision rests on characters that have arrived, never
on where a piece ended. What may turn out to be a marker is held back. A call that is not well formed becomes plain text
with its marker; once a call's name and the beginning of its arguments have been told, it stays a call.
"""

import json
import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, cast

from mainspring.core.types import Tool
from mainspring.models.tools.formats import Format

__all__ = ["Called", "Calls", "MalformedError", "Output", "Reader", "Said", "TextParser", "new_call_id", "unwrap"]

MAX_HEAD_CHARS = 4096
"""What stands before a call's arguments is shorter, or it is no call."""

ID_CHARS = string.ascii_letters + string.digits
SPACE = " \t\r\n"


class Said(NamedTuple):
    """Text to show: content, or thought. `at` is where it began in everything that was pushed (characters)."""

    at: int
    text: str
    thought: bool = False


class Called(NamedTuple):
    """More of call number `index`; the first has its id and name."""

    index: int
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
        """The end; returns what was held back."""
        ...


class MalformedError(Exception):
    """This is no call."""


class _MoreError(Exception):
    """Not decided yet."""


def new_call_id() -> str:
    """`call_` and 24 random characters, as OpenAI writes them."""
    return "call_" + "".join(secrets.choice(ID_CHARS) for _ in range(24))


def unwrap(arguments: str) -> str:
    """The free text of a custom tool out of the JSON that carries it, also if that was cut off; anything else as is."""
    for text in (arguments, arguments + '"}', arguments + '}'):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(cast("dict[str, Any]", found).get("input"), str):
            return cast("dict[str, str]", found)["input"]
    return arguments


class Calls:
    """Numbers, names and ids of an answer's calls, and the form of their arguments."""

    def __init__(self, tools: Mapping[str, Tool], new_id: Callable[[], str]) -> None:
        self.tools = tools
        self.num = 0
        self._new_id = new_id
        self._wrapped = ""
        self._custom = False

    def open(self, name: str) -> Called:
        """A call begins; raises MalformedError for a tool that may not be called."""
        if name not in self.tools:
            raise MalformedError(name)
        self._custom = self.tools[name].is_custom
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
        return [Called(self.num - 1, unwrap(wrapped), is_custom=True)] if wrapped else []


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
        self._json = _JsonEnd(format_.end if format_ else ())
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
            return len(self._buffer), ""
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
        """What is read is not complete: wait, unless nothing can follow."""
        return MalformedError() if self._final or len(self._buffer) >= MAX_HEAD_CHARS else _MoreError()

    def _head(self) -> None:
        """From after a marker to the beginning of the arguments."""
        assert self._format is not None
        text = self._limited().lstrip(SPACE)
        if not text:
            raise self._more()
        if text.startswith("<function=") or (not self._final and "<function=".startswith(text)):
            return self._read_block("</function>", text.startswith("<function="))
        if self._format.layout == "gemma":
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
        head = _read_head(self._limited())
        if head is None:
            raise self._more()
        self._commit(head.name, head.end)
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

    def _tail(self) -> None:
        """The rest of a call's object after its arguments."""
        try:
            end = _read_tail(self._limited())
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
            raise MalformedError if self._final else _MoreError
        text = self._buffer[:at]
        name, arguments = (
            _read_xml(text, self._calls.tools) if self._block_end == "</function>" else _read_gemma(text.strip())
        )
        self._commit(name, at + len(self._block_end))
        self._out += self._calls.more(arguments) + self._calls.close()
        self._shape = "object"
        self._close_call()
        if self._block_end in self._format.end:
            self._leave()


class _JsonEnd:
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


class _Head(NamedTuple):
    """A call's name, where its arguments begin (or, if they are complete, where it ends), and these."""

    name: str
    end: int
    arguments: str | None = None


_AFTER = re.compile(r"```|<[^>]*>")
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
        end = _JsonEnd(())
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


def _read_head(text: str) -> _Head | None:
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
            partial = text[at + 1 :].split('"')[0]
            if not any(key.startswith(partial) for key in KEYS):
                raise MalformedError
            key, at = _value(text, at)
            at = _white(text, at)
            _char(text, at, ":")
            at = _white(text, at + 1)
            if key in ("arguments", "parameters"):
                if text[at] == "{" and name is not None:
                    return _Head(name, at)
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
    return _Head(name, at + 1, arguments if arguments is not None else "{}")


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
            inner = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError) as error:
            raise MalformedError from error
        if isinstance(inner, dict):
            return value if value.strip() else "{}", end
    raise MalformedError


def _read_tail(text: str) -> int | None:
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


def _read_xml(text: str, tools: Mapping[str, Tool]) -> tuple[str, str]:
    """Name and arguments of `<function=name><parameter=key>value</parameter>...`: a value is text where the schema says
    string, else JSON if it is JSON."""
    found = _FUNCTION.fullmatch(text)
    if found is None:
        raise MalformedError
    name, body = found.groups()
    schema: Any = json.loads(tools[name].parameters) if name in tools else {}
    properties: dict[str, Any] = schema.get("properties", {}) if isinstance(schema, dict) else {}
    arguments: dict[str, Any] = {}
    at = 0
    while at < len(body):
        parameter = _PARAMETER.match(body, at)
        if parameter is None:
            if body[at:].strip():
                raise MalformedError
            break
        key, value = parameter.groups()
        declared = properties.get(key) if name not in tools or not tools[name].is_custom else {"type": "string"}
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


def _read_gemma(text: str) -> tuple[str, str]:
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
