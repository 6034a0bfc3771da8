"""What one request needs of all this: who reads its answers, and the grammar they must match, if any."""

from collections.abc import Mapping, Sequence

from mainspring.core.types import ChatPrompt, Constraint, Tool
from mainspring.models.tools.answers import Reader
from mainspring.models.tools.formats import Format
from mainspring.models.tools.grammar import AnswerGrammar
from mainspring.models.tools.harmony import HarmonyParser
from mainspring.models.tools.parser import TextParser

__all__ = ["AnswerPlan"]


class AnswerPlan:
    """How the answers to one chat are read and bound.

    Args:
        prompt: the chat.
        format_, think: how its model writes calls and thoughts.
        thinking: the rendered prompt ends inside a thought.
        constraint: what content must match.
        cites: see `AnswerGrammar`.
    """

    def __init__(
        self,
        prompt: ChatPrompt,
        *,
        format_: Format,
        think: tuple[str, str] | None,
        thinking: bool,
        constraint: Constraint | None,
        cites: Sequence[int] = (),
    ) -> None:
        use = prompt.tools
        self._format = format_
        self._think = think
        self._thinking = thinking
        self._constraint = constraint
        self._cites = cites if constraint is None else ()
        self._tools: list[tuple[int, Tool]] = []
        if use is not None and use.choice != "none":
            self._tools = [
                (at, tool) for at, tool in enumerate(use.tools) if tool.name in (use.allowed or (tool.name,))
            ]
        self._required = bool(self._tools) and use is not None and use.choice == "required"
        self._single = use is not None and not use.parallel
        self._may_think = prompt.thinking is not False

    @property
    def is_plain(self) -> bool:
        """Whether everything that this model writes is content."""
        return not self._tools and self._think is None and self._format.layout != "harmony"

    def reader(self) -> Reader | None:
        """A reader for one choice; None if there is nothing to tell apart."""
        if self.is_plain:
            return None
        tools = [tool for _, tool in self._tools]
        if self._format.layout == "harmony":
            return HarmonyParser(tools, single=self._single)
        return TextParser(
            self._format if tools else None, tools, think=self._think, thinking=self._thinking, single=self._single
        )

    def grammar(self, special: Mapping[str, int]) -> tuple[str, Sequence[tuple[str, Constraint]]] | None:
        """The grammar of an answer and the parts of it that the client wrote; None if anything goes.

        Args:
            special: ids of control tokens by name.
        """
        bound = [(at, tool) for at, tool in self._tools if self._required or tool.strict or tool.custom is not None]
        if not bound and self._constraint is None and not self._cites:
            return None
        parts = [part for at, tool in bound for part in _written(at, tool)]
        if self._constraint is not None:
            is_schema = self._constraint.kind == "json_schema"
            parts.append(("response_format.json_schema.schema" if is_schema else "response_format", self._constraint))
        answer = AnswerGrammar(
            format_=self._format,
            special=special,
            tools=[tool for _, tool in self._tools],
            free=frozenset(tool.name for at, tool in self._tools if (at, tool) not in bound),
            required=self._required,
            single=self._single,
            think=self._think if self._may_think else None,
            thinking=self._thinking and self._may_think,
            content=self._constraint,
            cites=self._cites,
        )
        return answer.compile(), parts or [("tools", Constraint("json_object"))]


def _written(at: int, tool: Tool) -> list[tuple[str, Constraint]]:
    if tool.is_custom:
        return [(f"tools[{at}].custom.format", tool.custom)] if tool.custom is not None else []
    return [(f"tools[{at}].function.parameters", Constraint("json_schema", tool.parameters or "{}"))]
