"""How families of models write tool calls and thoughts, and which of these a chat template speaks.

A format is a few strings: what opens a section of calls, what stands between name and arguments, what closes it. The
parser (`parser.py`) and the engine's grammars are written against these strings, so a new family is a new row here.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["FORMATS", "HERMES", "THINK_TAGS", "Format", "choose_format", "find_think_tags"]

NAME = r"(?P<name>[^\s{}\[\]<>\"]+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write calls.

    Args:
        name: for logs and tests.
        signs: a template that holds one of these speaks this format.
        begin: what opens a section of calls; the first is what grammars write.
        end: what closes it; the first is what grammars write, "" if nothing does.
        layout: json is an object (or a list of objects) with a name and arguments; named is the name, then the
            arguments; gemma is a notation of its own; harmony has channels instead of sections.
        key: what the arguments are called in a json layout.
        listed: calls are written as one JSON list.
        bare: an answer that begins with a JSON object is a call, without any marker.
        head: of a named layout: what stands before the arguments, with a group `name`.
        before, between, after: of a named layout: what grammars write before the name, between name and arguments, and
            after the arguments.
        separator: what grammars write between two calls.
        marks: further names that only the format itself may write: they stay plain text in whatever a stranger sent.
        repeats: every call has a section of its own.
    """

    name: str
    signs: tuple[str, ...]
    begin: tuple[str, ...]
    end: tuple[str, ...] = ("",)
    layout: Literal["json", "named", "gemma", "harmony"] = "json"
    key: str = "arguments"
    listed: bool = False
    bare: bool = False
    head: re.Pattern[str] | None = None
    before: str = ""
    between: str = ""
    after: str = ""
    separator: str = ""
    marks: tuple[str, ...] = ()
    repeats: bool = False

    @property
    def section(self) -> tuple[str, str]:
        """What a section of calls begins and ends with when we write it."""
        if self.bare or self.layout == "harmony":
            return "", ""
        line = "\n" if self.name == "hermes" else ""
        opened, closed = ("[", "]") if self.listed else ("", "")
        return f"{self.begin[0]}{line}{opened}", f"{closed}{line}{self.end[0]}"

    def call(self, name: str) -> tuple[str, str]:
        """What stands before and after the arguments of a call when we write it."""
        if self.layout == "harmony":
            return f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>", "<|call|>"
        if self.layout != "json":
            return f"{self.before}{name}{self.between}", self.after
        return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "{self.key}": ', "}"

    @property
    def raw_end(self) -> str:
        """What ends the raw input of a custom tool; "" where only the end of the answer does."""
        return f"\n{self.end[0]}" if self.end[0] and not self.bare else ""

    def raw(self, name: str) -> tuple[str, str]:
        """What stands before and after the input of a custom tool that has a grammar: such an input is written as it
        is, since inside of JSON every quote of it would be two characters that its grammar does not know. Only a
        grammar writes this, so it is the same notation for all but harmony, which has one of its own."""
        if self.layout == "harmony":
            return f"<|channel|>commentary to=functions.{name} <|constrain|>text<|message|>", "<|call|>"
        line = "\n" if self.name == "hermes" else ""
        opened = "" if self.bare else self.begin[0]
        return f'{opened}{line}{{"name": {json.dumps(name, ensure_ascii=False)}}}\n', self.raw_end

    def write(self, calls: Iterable[tuple[str, str]]) -> str:
        """Calls, each a name and the JSON of its arguments, as the model would write them."""
        opened, closed = self.section
        written = [f"{before}{arguments}{after}" for name, arguments in calls for before, after in [self.call(name)]]
        if self.repeats:
            return self.separator.join(f"{opened}{one}{closed}" for one in written)
        return f"{opened}{self.separator.join(written)}{closed}"


HERMES = Format(
    name="hermes",
    signs=("<tool_call>",),
    begin=("<tool_call>",),
    end=("</tool_call>",),
    separator="\n",
    marks=("<tools>", "</tools>", "<tool_response>", "</tool_response>"),
    repeats=True,
)
"""ChatML's way, of Hermes and Qwen (and, in an XML dress, of Qwen's coders); also what a template that knows no tools
is taught."""

_DEEPSEEK_HEAD = (
    r"\s*(?:<｜tool▁call▁begin｜>)?\s*(?:function<｜tool▁sep｜>)?" + NAME + r"(?:<｜tool▁sep｜>)?\s*(?:```json)?\s*"
)

FORMATS = (
    Format(
        name="harmony",
        signs=("<|channel|>analysis", "<|channel|>commentary"),
        begin=("<|channel|>",),
        end=("<|call|>",),
        layout="harmony",
        marks=("<|start|>", "<|message|>", "<|end|>", "<|return|>", "<|constrain|>"),
    ),
    Format(
        name="deepseek",
        signs=("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'+ tool['function']['name']",),
        begin=("<｜tool▁calls▁begin｜>",),
        end=("<｜tool▁calls▁end｜>",),
        layout="named",
        head=re.compile(_DEEPSEEK_HEAD),
        before="<｜tool▁call▁begin｜>",
        between="<｜tool▁sep｜>",
        after="<｜tool▁call▁end｜>",
        marks=("<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
    ),
    Format(
        name="deepseek-r1",
        signs=("<｜tool▁calls▁begin｜>",),
        begin=("<｜tool▁calls▁begin｜>",),
        end=("<｜tool▁calls▁end｜>",),
        layout="named",
        head=re.compile(_DEEPSEEK_HEAD),
        before="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        between="\n```json\n",
        after="\n```<｜tool▁call▁end｜>",
        separator="\n",
        marks=("<｜tool▁sep｜>", "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>",
               "<｜tool▁output▁end｜>"),
    ),
    Format(
        name="mistral",
        signs=("[ARGS]",),
        begin=("[TOOL_CALLS]",),
        layout="named",
        head=re.compile(r"\s*" + NAME + r"(?:\[CALL_ID\]\w*)?(?:\[ARGS\])?\s*"),
        between="[ARGS]",
        marks=("[CALL_ID]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CONTENT]", "[AVAILABLE_TOOLS]",
               "[/AVAILABLE_TOOLS]"),
        repeats=True,
    ),
    Format(
        name="mistral-list",
        signs=("[TOOL_CALLS]",),
        begin=("[TOOL_CALLS]",),
        listed=True,
        separator=", ",
        marks=("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    ),
    Format(
        name="phi",
        signs=("<|tool_call|>", "<|/tool_call|>"),
        begin=("<|tool_call|>", "functools"),
        end=("<|/tool_call|>",),
        listed=True,
        separator=", ",
        marks=("<|tool|>", "<|/tool|>", "<|tool_response|>"),
    ),
    Format(
        name="gemma",
        signs=("<|tool_call>", "<start_function_call>"),
        begin=("<|tool_call>", "<start_function_call>"),
        end=("<tool_call|>", "<end_function_call>"),
        layout="gemma",
        before="call:",
        marks=('<|"|>', "<escape>", "<|tool>", "<tool|>", "<|tool_response>", "<tool_response|>"),
        repeats=True,
    ),
    HERMES,
    Format(
        name="llama",
        signs=("<|python_tag|>", '"parameters": dictionary', "'\"parameters\": '", "ipython"),
        begin=("<|python_tag|>",),
        end=("<|eom_id|>",),
        key="parameters",
        bare=True,
        separator="; ",
    ),
)  # fmt: skip
"""In the order in which signs are looked for: the particular before the general."""

THINK_TAGS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel>thought", "<channel|>"),
)


def choose_format(template: str | None) -> tuple[Format, str]:
    """The format that a chat template speaks, and why."""
    for format_ in FORMATS:
        for sign in format_.signs:
            if template and sign in template:
                return format_, f"the chat template holds {sign!r}"
    return HERMES, "the chat template holds no marker of any known format, so the model is taught this one"


def find_think_tags(template: str | None) -> tuple[str, str] | None:
    """How the model marks what it thinks, if it does; harmony's channels are not tags."""
    for tags in THINK_TAGS:
        if template and (tags[0] in template or tags[1] in template):
            return tags
    return None
