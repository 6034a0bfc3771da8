"""What an answer may look like, as a grammar in llguidance's dialect of Lark: thoughts, then content or calls.

Text only: the engine compiles it. Whoever reads such an answer is `parser.TextParser` or `harmony.HarmonyParser`, so
both sides write and read the strings of one `Format`.
Syntax: llguidance, docs/syntax.md ("Special tokens", "Lazy lexemes", "Multiple grammars").
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mainspring.core.types import Constraint, Tool
from mainspring.models.cited import cited_text
from mainspring.models.tools.formats import Format

__all__ = ["COMPACT", "AnswerGrammar", "regex_grammar"]

COMPACT = {"whitespace_flexible": False, "lenient": False, "coerce_one_of": False}
"""How JSON is written: without the freedom to fill an answer with white space, and with nothing ignored."""
SPACED = {**COMPACT, "item_separator": ", ", "key_separator": ": "}
"""The same for arguments, which models have learned with these spaces."""

FREE = r"FREE: /(.|\n)*/"
TEXT = r"TEXT: /(.|\n)*/"
COMBINATORS = ("allOf", "anyOf", "oneOf", "$ref", "patternProperties")


def regex_grammar(pattern: str) -> str:
    """A Lark grammar that is one regular expression: only the slash needs care, since it ends one there."""
    return (
        "start: /"
        + re.sub(r"\\.|/", lambda found: found[0] if found[0] != "/" else r"\/", pattern, flags=re.DOTALL)
        + "/"
    )


@dataclass(frozen=True, kw_only=True)
class AnswerGrammar:
    """One request's answers.

    Args:
        format_: how calls are written.
        special: ids of control tokens by name: a grammar cannot write those as text.
        tools: those that may be called.
        free: names of those whose arguments may be any object: the client asked for no more, and a schema that nobody
            can enforce is no reason to refuse.
        required: at least one call and nothing else.
        single: one call at most.
        think: the tags around thoughts, if the model may think first.
        thinking: the prompt ended inside a thought.
        content: what an answer that is no call must match; None for any text.
        cites: numbers that markers in any text may have (`models/cited.py`); none at all leaves it free. Thoughts are.
    """

    format_: Format
    special: Mapping[str, int]
    tools: Sequence[Tool] = ()
    free: frozenset[str] = frozenset()
    required: bool = False
    single: bool = False
    think: tuple[str, str] | None = None
    thinking: bool = False
    content: Constraint | None = None
    cites: Sequence[int] = ()

    def compile(self) -> str:
        """The grammar, in the JSON that llguidance reads."""
        rules = ["%llguidance {}", FREE, *self._text(), *self._thought()]
        before = "thought? " if self.think or self.format_.layout == "harmony" else ""
        if self.thinking:
            before = "thought "
        if self.tools:
            rules += self._calls()
        rules += [f"start: {before}answer", f"answer: {self._answer()}"]
        parts = [{"name": "answer", "lark_grammar": "\n".join(rules)}]
        parts += [
            {"name": f"t{at}", **_arguments(tool, free=tool.name in self.free)} for at, tool in enumerate(self.tools)
        ]
        if self.content is not None:
            parts.append({"name": "content", **_content(self.content)})
        return json.dumps({"grammars": parts})

    # -- literals ------------------------------------------------------------------------------------------------------

    def _write(self, text: str) -> str:
        """A literal: text in quotes, control tokens by their ids."""
        names = sorted((name for name in self.special if name in text), key=len, reverse=True)
        parts = re.split("(" + "|".join(map(re.escape, names)) + ")", text) if names else [text]
        return " ".join(
            f"<[{self.special[part]}]>" if part in self.special else json.dumps(part, ensure_ascii=False)
            for part in parts
            if part
        )

    def _write_apart(self, text: str, start: str) -> str:
        """A literal whose `start` is one of its own, as it is in other calls: of two that begin alike, llguidance's
        lexer goes on with the longer one and never comes back, so that those calls could not be written."""
        if not start or not text.startswith(start) or text == start:
            return self._write(text)
        return f"{self._write(start)} {self._write(text.removeprefix(start))}"

    def _up_to(self, rule: str, mark: str, text: str) -> list[str]:
        """A rule for a text up to and with the first `mark`."""
        lazy = "" if mark in self.special else "[lazy]"
        return [f"{rule}{lazy}: {text} {self._write(mark)}"]

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _text(self) -> list[str]:
        """Any text, or any whose markers are of passages. The latter does not begin with a thought, which is free: else
        llguidance's lexer would take what begins with one for text, and never come back."""
        if not self.cites:
            return [TEXT]
        thought = self.think[0] if self.think is not None else ""
        is_written = thought and thought not in self.special and not set(thought) & set("[`")
        never = [json.dumps(thought)] if is_written else []
        return cited_text("TEXT", self.cites, [*never, r"/[{\s]/"] if self.format_.bare else never)

    def _thought(self) -> list[str]:
        if self.format_.layout == "harmony":
            opened, end = self._write("<|channel|>analysis<|message|>"), self._up_to("thought_end", "<|end|>", "FREE")
            return [f"thought: {opened} thought_end {self._write('<|start|>assistant')}", *end]
        if self.think is None:
            return []
        opened = "" if self.thinking else self._write(self.think[0])
        return [f"thought: {opened} thought_end /\\n{{0,2}}/", *self._up_to("thought_end", self.think[1], "FREE")]

    def _answer(self) -> str:
        content = "@content" if self.content is not None else "TEXT"
        if self.format_.layout == "harmony":
            said = f"{self._write('<|channel|>final<|message|>')} {content}"
            return self._choice(said, "calls")
        if not self.tools or self.required:
            return "calls" if self.tools else content
        if self.content is not None:
            return self._choice(content, "calls")
        if self.format_.bare:
            return "(TEXT | calls)?" if self.cites else "(/[^{\\s](.|\\n)*/ | calls)?"
        ends = self._endless()
        last = " | last" if ends else ""
        if ends == len(self.tools):
            return "TEXT | last"
        return f"TEXT | found{last}" if self.single else f"found* (TEXT{last})"

    def _endless(self) -> int:
        """How many tools have raw inputs that only the end of the answer ends."""
        return 0 if self.format_.raw_end else sum(tool.custom is not None for tool in self.tools)

    def _choice(self, content: str, calls: str) -> str:
        if not self.tools:
            return content
        return calls if self.required else f"{content} | {calls}"

    def _calls(self) -> list[str]:
        """`calls` is nothing but calls; `found` is text that leads to one call (or, in a list, to several)."""
        format_ = self.format_
        opened, closed = format_.section
        separator = self._write(format_.separator) if format_.separator else ""
        plain = [f"c{at}" for at, tool in enumerate(self.tools) if tool.custom is None]
        raw = [f"c{at}" for at, tool in enumerate(self.tools) if tool.custom is not None]
        rules = [f"c{at}: {self._call(at, tool)}" for at, tool in enumerate(self.tools)]
        more = "" if self.single or format_.layout == "harmony" else f"({separator} call)*"
        options: list[str] = []
        if plain:
            rules.append(f"call: {' | '.join(plain)}")
            if format_.repeats:
                rules.append(f"one: {self._write(opened)} call {self._write(closed) if closed else ''}")
                options.append("one" if not more else f"one ({separator} one)*")
            else:
                parts = [self._write(opened) if opened else "", "call", more, self._write(closed) if closed else ""]
                options.append(" ".join(filter(None, parts)))
        options += raw
        rules.append(f"calls: {' | '.join(options)}")
        if not self.required and not format_.bare and format_.layout != "harmony" and self.content is None:
            rules += self._found(plain, raw, more)
        return rules

    def _found(self, plain: list[str], raw: list[str], more: str) -> list[str]:
        """The same calls with any text before them: the marker that begins a section belongs to that text."""
        format_ = self.format_
        mark = format_.begin[0]
        opened, closed = format_.section
        tails: list[str] = []
        if plain:
            inner = "call" if format_.repeats or not more else f"call {more}"
            tails.append(f"{self._write(opened.removeprefix(mark)) if opened != mark else ''} {inner} "
                         f"{self._write(closed) if closed else ''}")  # fmt: skip
        raws: list[str] = []
        for rule in raw:
            at = int(rule[1:])
            before, after = format_.raw(self.tools[at].name)
            start = self._write_apart(before.removeprefix(mark), opened.removeprefix(mark))
            raws.append(f"{start} @t{at} {self._write(after) if after else ''}")
        rules = self._up_to("lead", mark, "TEXT")
        if self._endless():
            rules.append(f"last: lead ({' | '.join(raws)})")
        else:
            tails += raws
        return [*rules, f"found: lead ({' | '.join(tails)})"] if tails else rules

    def _call(self, at: int, tool: Tool) -> str:
        before, after = self.format_.raw(tool.name) if tool.custom is not None else self.format_.call(tool.name)
        opened = self.format_.section[0] if tool.custom is not None else ""
        # The end of harmony's calls ends the answer too: the engine sees the token, not the grammar.
        closing = "" if self.format_.layout == "harmony" or not after else self._write(after)
        return f"{self._write_apart(before, opened) if before else ''} @t{at} {closing}"


def _arguments(tool: Tool, *, free: bool) -> dict[str, Any]:
    """The grammar of a tool's arguments."""
    if free and not tool.is_custom:
        return {"json_schema": {"type": "object", "x-guidance": SPACED}}
    if tool.custom is not None:
        return _content(tool.custom)
    if tool.is_custom:
        schema: dict[str, Any] = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    else:
        schema = dict(json.loads(tool.parameters or "{}"))
        if not schema.keys() & {"type", *COMBINATORS}:
            schema["type"] = "object"
    schema = _closed(schema)
    return {"json_schema": {**schema, "x-guidance": SPACED}}


def _content(constraint: Constraint) -> dict[str, Any]:
    match constraint.kind:
        case "json_object":
            return {"json_schema": {"type": "object", "x-guidance": COMPACT}}
        case "json_schema":
            return {"json_schema": {**json.loads(constraint.schema), "x-guidance": COMPACT}}
        case "regex":
            return {"lark_grammar": regex_grammar(constraint.schema)}
        case "lark":
            return {"lark_grammar": constraint.schema}


def _closed(schema: Any) -> Any:
    """The schema without properties that nobody named: what matches it matches the original too, and a small model does
    not go on inventing more of them. Objects made of several schemas stay as they are."""
    if not isinstance(schema, dict):
        return schema
    found = cast("dict[str, Any]", schema)
    if any(key in found for key in COMBINATORS):
        return found
    closed = dict(found)
    if isinstance(found.get("properties"), dict):
        closed["properties"] = {name: _closed(inner) for name, inner in found["properties"].items()}
        closed.setdefault("additionalProperties", False)
    if isinstance(found.get("items"), dict):
        closed["items"] = _closed(found["items"])
    return closed
