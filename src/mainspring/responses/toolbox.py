"""All tools of one response: which the model may call now, and who carries a call out."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Tool, ToolUse
from mainspring.responses.ask import Ask, Selector
from mainspring.responses.tools import Annotator, Caller, Cites, Kinds, Preparation, ServerTool
from mainspring.store.responses import Entry

__all__ = ["Toolbox"]

_CLIENT = ("function", "custom")


class Toolbox:
    """See the module. Made by `open`."""

    def __init__(self, ask: Ask, tools: Sequence[tuple[int, dict[str, Any], ServerTool]], kinds: Kinds) -> None:
        self._ask, self._tools, self._kinds = ask, tools, kinds
        self._owners: dict[str, ServerTool] = {}

    @classmethod
    async def open(cls, ask: Ask, kinds: Kinds) -> "Toolbox":
        """Make them.

        Raises:
            InvalidRequest: this server has no such tool, or its definition is wrong.
        """
        caller = Caller(project=ask.project, principal=ask.tenant, model=ask.model, response=ask.id)
        tools: list[tuple[int, dict[str, Any], ServerTool]] = []
        for at, definition in ask.definitions:
            kind = kinds.get(definition["type"])
            if kind is None:
                raise InvalidRequest(
                    f"Tools of type {definition['type']!r} are not available on this server. Available: "
                    f"{', '.join((*_CLIENT, *sorted(kinds)))}.",
                    code="unsupported_parameter", param=f"tools[{at}].type",
                )  # fmt: skip
            try:
                tools.append((at, definition, await kind.make(definition, caller)))
            except InvalidRequest as error:
                error.param = f"tools[{at}].{error.param}" if error.param else f"tools[{at}]"
                raise
        return cls(ask, tools, kinds)

    def recall(self, entries: Sequence[Entry]) -> None:
        """What the context has of them from before."""
        for _, definition, tool in self._tools:
            items = self._kinds[definition["type"]].items
            for entry in entries:
                if entry.item["type"] in items:
                    tool.recall(entry.kept.get("item", entry.item), entry.kept.get("tool", {}))

    async def begin(self, entries: Sequence[Entry]) -> AsyncGenerator[Preparation]:
        """What they tell before the first generation."""
        for _, definition, tool in self._tools:
            items = self._kinds[definition["type"]].items
            async for step in tool.begin([entry.item for entry in entries if entry.item["type"] in items]):
                yield step

    def settle(self) -> None:
        """After `begin`: who carries out what.

        Raises:
            InvalidRequest: two tools of one name.
        """
        names = {tool.name for tool in self._ask.functions}
        for at, _, tool in self._tools:
            for function in tool.functions:
                if function.name in names or function.name in self._owners:
                    raise InvalidRequest(f"Two of the tools are called {function.name!r}.", param=f"tools[{at}]")
                self._owners[function.name] = tool

    def owner(self, name: str) -> ServerTool | None:
        """Who carries out a function; None if the client does."""
        return self._owners.get(name)

    def use(self, *, first: bool, exhausted: bool) -> ToolUse | None:
        """What the model is told, and what it may call.

        Args:
            first: of the first generation. A call that is demanded was made then: later ones are free to answer.
            exhausted: the server carries out no more calls.
        """
        ours: list[Tool] = [function for _, _, tool in self._tools for function in tool.functions]
        tools = (*self._ask.functions, *ours)
        if not tools:
            return None
        choice = self._ask.choice
        allowed = self._allowed()
        if not first and choice == "required":
            choice, allowed = "auto", set[str]()
        if exhausted and ours:
            allowed = (allowed or {tool.name for tool in tools}) - self._owners.keys()
            choice = choice if allowed else "none"
        return ToolUse(tools=tools, choice=choice, allowed=tuple(sorted(allowed)), parallel=self._ask.parallel)

    def _allowed(self) -> set[str]:
        """The names of what may be called; none means all.

        Raises:
            InvalidRequest: what is chosen is no tool of the request.
        """
        names: set[str] = set()
        for selector in self._ask.allowed:
            found = self._selected(selector)
            if not found:
                what = selector.name or selector.label or selector.type
                raise InvalidRequest(f"No tool of this request is {what!r}.", param="tool_choice")
            names |= found
        return names

    def _selected(self, selector: Selector) -> set[str]:
        if selector.type in _CLIENT:
            return {
                tool.name
                for tool in self._ask.functions
                if tool.name == selector.name and tool.is_custom == (selector.type == "custom")
            }
        return {
            function.name
            for _, definition, tool in self._tools
            if definition["type"] == selector.type and selector.label in (None, definition.get("server_label"))
            for function in tool.functions
            if selector.name in (None, function.name)
        }

    def annotators(self, begun: str = "") -> list[Annotator]:
        """What reads the next message, in the order of the tools; see `Cites.annotator`. Nothing reads one in a format
        of the client's: in JSON `[1, 2]` is no marker, and what is put in or taken out would break it."""
        if self._ask.constraint is not None:
            return []
        found = [tool.annotator(begun) for _, _, tool in self._tools if isinstance(tool, Cites)]
        return [each for each in found if each is not None]

    @property
    def cites(self) -> tuple[int, ...]:
        """Numbers that markers in the next answer may have; see `Cites.cites`."""
        return tuple(each for _, _, tool in self._tools if isinstance(tool, Cites) for each in tool.cites())
