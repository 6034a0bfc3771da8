"""How a conversation is written for a model: its own Jinja template, rendered as if a stranger had written it.

The template comes out of a model file, so it runs in Jinja's immutable sandbox. The messages come from users, so the
names of control tokens inside them (`<|im_end|>`) must stay plain text: `render` cuts the prompt there, and the pieces
are tokenised one by one.
"""

import datetime
import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn, cast

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mainspring.core.errors import InvalidRequest
from mainspring.core.limits import OutOfTime, time_limit
from mainspring.core.types import ChatPrompt, Constraint, Message, ToolUse
from mainspring.models.tools.formats import choose_format, find_think_tags
from mainspring.models.tools.plan import AnswerPlan
from mainspring.models.tools.prompt import (
    Abilities,
    Turn,
    call_id,
    call_turns,
    probe,
    split_calls,
    teach,
    tool_turns,
    use_text,
)

__all__ = ["CHATML", "ChatTemplate"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""For models without a template of their own."""

CUT = "\ufdd0"
"""A noncharacter (Unicode 16, section 23.7): never part of interchanged text. Marks where a name is cut."""

HARMONY_ANSWER = "<|channel|>final<|message|>"
MAX_PROMPT_CHARS = 16 * 2**20
MAX_RENDER_S = 5.0


def _raise(message: str) -> NoReturn:
    raise InvalidRequest(f"The model's chat template refuses these messages: {message}", param="messages")


def _now(pattern: str) -> str:
    return datetime.datetime.now(datetime.UTC).strftime(pattern)


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


class _Generation(jinja2.ext.Extension):
    """Transformers' `{% generation %}`: marks what an assistant wrote, for training; here it is what it encloses."""

    tags: ClassVar[set[str]] = {"generation"}  # pyright: ignore[reportIncompatibleVariableOverride]

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled template.

    Args:
        source: Jinja; None means ChatML.
        bos, eos: the names of those tokens, as templates expect them.
        special: ids of all control tokens by name.

    Attributes:
        format, reason: how the model writes calls, and how that was found out.
        knows_format: it is the template's own. One that writes calls in a way that we cannot read is not shown tools:
            it is taught our format in words, and earlier calls are shown in it.
        think: the tags around its thoughts, if it has them.
    """

    def __init__(
        self, source: str | None, *, bos: str = "", eos: str = "", special: Mapping[str, int] | None = None
    ) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
        )
        environment.filters["tojson"] = _tojson
        cast("dict[str, Any]", environment.globals).update(raise_exception=_raise, strftime_now=_now)
        self._source = source or CHATML
        try:
            self._template = environment.from_string(self._source)
        except jinja2.TemplateError as error:
            raise InvalidRequest(f"The model's chat template does not parse: {error}", param="model") from error
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self.format, self.reason = choose_format(source)
        self.knows_format = any(sign in self._source for sign in self.format.signs)
        self.think = find_think_tags(source) if self.format.layout != "harmony" else None
        self._special = dict(special or {})
        names = [name for name in self._special if len(name) > 1]
        marks = (*self.format.begin, *filter(None, self.format.end), *self.format.marks, *(self.think or ()))
        self._names = _any_of(names)
        self._marks = _any_of([*names, *marks])
        self._short_ids = "length != 9" in self._source

    @functools.cached_property
    def abilities(self) -> Abilities:
        """What the template does with tools."""

        def attempt(messages: list[Turn], tools: list[dict[str, Any]] | None = None) -> str | None:
            try:
                return self._run(messages, tools)
            except InvalidRequest:
                return None

        return probe(attempt)

    def render(
        self,
        messages: Iterable[Message],
        tools: ToolUse | None = None,
        thinking: bool | None = None,
        *,
        to_answer: bool = True,
        continues: bool = False,
    ) -> list[str]:
        """The prompt up to where the assistant speaks, as pieces to be tokenised separately and joined.

        Args:
            tools: listed in the prompt unless no call may be made.
            thinking, continues: see `ChatPrompt`.
            to_answer: False ends with the last message, for training.
        """
        listed = tool_turns(tools.tools, self._strict) if tools and tools.choice != "none" else []
        messages = list(messages)
        begun = messages.pop().content if continues else ""
        turns = self._turns(messages, bool(listed))
        if listed and not (self.abilities.tools and self.knows_format):
            self._teach(turns, listed)
            listed = []
        thinking = False if continues else thinking
        flags = {} if thinking is None else {"enable_thinking": thinking, "thinking": thinking}
        text = self._run(turns, listed or None, to_answer=to_answer, **flags)
        if thinking is False and to_answer:
            text += self._no_thought(text)
        if continues:
            text += HARMONY_ANSWER if self.format.layout == "harmony" else ""
            text += self._plain(begun)
        if len(text) > MAX_PROMPT_CHARS:
            _raise("the prompt would be too long")
        return [piece for piece in text.split(CUT) if piece]

    def plan(
        self, prompt: ChatPrompt, pieces: list[str], constraint: Constraint | None, cites: Sequence[int] = ()
    ) -> AnswerPlan:
        """How the answers to a rendered prompt are read and bound."""
        # A thought that the prompt began is one that the model continues.
        thinking = self.think is not None and "".join(pieces[-3:]).rstrip().endswith(self.think[0])
        thinking = thinking and not prompt.continues
        return AnswerPlan(
            prompt, format_=self.format, think=self.think, thinking=thinking, constraint=constraint, cites=cites
        )

    def _run(
        self, turns: list[Turn], tools: list[dict[str, Any]] | None, *, to_answer: bool = True, **flags: bool
    ) -> str:
        given = {"tools": tools} if tools else {}
        try:
            with time_limit(MAX_RENDER_S):
                return self._template.render(
                    messages=turns, add_generation_prompt=to_answer, **given, **flags, **self._tokens
                )
        except OutOfTime:
            _raise(f"it ran for more than {MAX_RENDER_S:.0f} seconds")
        except InvalidRequest:
            raise
        except Exception as error:  # noqa: BLE001 - a template is a program of a stranger's: anything may come out of it
            _raise(str(error) or type(error).__name__)

    def _no_thought(self, text: str) -> str:
        """An empty thought, for a model whose template does not know how to begin an answer without one."""
        if self.format.layout == "harmony":
            return "<|channel|>analysis<|message|><|end|><|start|>assistant"
        if self.think is None:
            return ""
        opened, closed = self.think
        if text.rstrip().endswith(closed):
            return ""
        if text.rstrip().endswith(opened):
            return f"\n{closed}\n\n"
        return f"{opened}\n\n{closed}\n\n"

    def _turns(self, messages: list[Message], has_tools: bool) -> list[Turn]:
        uses_calls = any(message.tool_calls or message.role == "tool" for message in messages)
        if not uses_calls and not has_tools:
            return [self._turn(message) for message in messages]
        if uses_calls and not (self.abilities.calls and self.knows_format):
            plain = [self._with_system_role(message) for message in messages]
            return use_text(plain, self.format, self._strict, lambda one: self._turn(one)["content"])
        if self.format.name in ("llama", "harmony"):
            messages = split_calls(messages)
        return [self._turn(message) for message in messages]

    def _with_system_role(self, message: Message) -> Message:
        return msgspec.structs.replace(message, role=self._role(message))

    def _role(self, message: Message) -> Any:
        # OpenAI's newer name for the same thing; most templates know only the older.
        is_new = message.role == "developer" and "developer" not in self._source
        return "system" if is_new else message.role

    def _turn(self, message: Message) -> Turn:
        is_ours = message.role in ("system", "developer", "assistant")
        turn: Turn = {
            "role": self._role(message),
            "content": self._plain(message.content) if is_ours else self._strict(message.content),
        }
        if message.name is not None:
            turn["name"] = self._plain(message.name)
        if message.tool_call_id is not None:
            turn["tool_call_id"] = call_id(message.tool_call_id, self._strict, short=self._short_ids)
        if message.tool_calls:
            turn["tool_calls"] = call_turns(message, self.abilities, self._strict, short_ids=self._short_ids)
            turn["content"] = turn["content"] or self.abilities.empty
        return turn

    def _teach(self, turns: list[Turn], listed: list[dict[str, Any]]) -> None:
        """Put the tools into the system message, or into the first of the user where the template has no other."""
        text = teach(listed, self.format)
        if not self.abilities.system:
            first = next((turn for turn in turns if turn["role"] == "user"), None)
            if first is not None:
                first["content"] = f"{text}\n\n{first['content']}"
                return
        if turns and turns[0]["role"] in ("system", "developer"):
            turns[0]["content"] = f"{turns[0]['content']}\n\n{text}"
        else:
            turns.insert(0, {"role": "system", "content": text})

    def _plain(self, text: str) -> str:
        """Names of control tokens become text."""
        text = text.replace(CUT, "")
        return self._names.sub(_cut, text) if self._names else text

    def _strict(self, text: str) -> str:
        """Like `_plain`, and for whatever else has a meaning in this model's format: strangers do not write it."""
        text = text.replace(CUT, "")
        return self._marks.sub(_cut, text) if self._marks else text


def _any_of(names: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(set(names), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


@functools.lru_cache(maxsize=64)
def _cut_name(name: str) -> str:
    return name[0] + CUT + name[1:]


def _cut(found: re.Match[str]) -> str:
    return _cut_name(found.group())
