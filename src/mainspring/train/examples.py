"""What a line of training data may be, by method, in OpenAI's formats; and a file of them, read as a stream.

    supervised      {"messages": [...], "tools": [...], "parallel_tool_calls": true}    or {"prompt", "completion"}
    dpo, reward     {"input": {"messages", "tools"}, "preferred_output": [...], "non_preferred_output": [...]}
    reinforcement   {"messages": [...], "tools": [...], and whatever the grader reads as item.*}

Conversations become `core.types.Message`, as requests do: what is trained is what is served. Names of fields are
checked strictly, because a misspelt `weight` would train what was to be left out and never be noticed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Message, ToolUse
from mainspring.train import wire
from mainspring.train.lines import Fault, Faults, Index, Line, Wrong, parse_object, read_lines
from mainspring.train.plan import Method

__all__ = ["MIN_EXAMPLES", "Chat", "Completion", "Example", "ExampleFile", "Preference", "Reinforcement", "parse"]

MIN_EXAMPLES = 10
"""Fewer are refused, as OpenAI and Azure do: they cannot tell the model what to generalise."""


class Chat(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation, and for each message whether it is learnt: 0 or 1, always 0 unless it is the assistant's."""

    messages: tuple[Message, ...]
    weights: tuple[int, ...]
    tools: ToolUse | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """Text, and how it goes on."""

    prompt: str
    completion: str


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation and two ways to go on: each of them the assistant's, perhaps with results of tools between."""

    messages: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: ToolUse | None = None


class Reinforcement(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that is to be answered, and the whole line as graders see it."""

    messages: tuple[Message, ...]
    item: dict[str, Any]
    tools: ToolUse | None = None


Example = Chat | Completion | Preference | Reinforcement


def parse(data: bytes, method: Method) -> Example:
    """One line.

    Raises:
        Wrong: the place in it, what is wrong there and how to mend it.
    """
    line = parse_object(data)
    match method:
        case "supervised":
            return _completion(line) if "prompt" in line or "completion" in line else _chat(line)
        case "dpo" | "reward":
            return _preference(line)
        case "reinforcement":
            return _reinforcement(line)


def _completion(line: dict[str, Any]) -> Completion:
    if "messages" in line:
        raise Wrong("", "it has both 'messages' and 'prompt' or 'completion': keep one of the two formats")
    found = wire.convert(line, wire.CompletionLine)
    if not found.completion:
        raise Wrong("completion", "it is empty: there is nothing to learn")
    return Completion(prompt=found.prompt, completion=found.completion)


def _chat(line: dict[str, Any]) -> Chat:
    if "input" in line and "preferred_output" in line:
        raise Wrong("", "it is an example of preferences: choose the method dpo, or give 'messages'")
    found = wire.convert(line, wire.ChatLine)
    messages, weights = wire.conversation(found.messages, "messages")
    answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
    if not answers:
        raise Wrong("messages", "no message is the assistant's: there is nothing to learn")
    if messages[-1].role != "assistant":
        raise Wrong(f"messages[{len(messages) - 1}].role", "the last message must be the assistant's: it is learnt")
    for at in answers:
        if weights[at] and not messages[at].content.strip() and not messages[at].tool_calls:
            raise Wrong(f"messages[{at}].content", "an empty answer would be learnt: write it, or give it weight 0")
    return Chat(messages=messages, weights=weights, tools=_tools(found))


def _preference(line: dict[str, Any]) -> Preference:
    if "messages" in line and "input" not in line:
        raise Wrong("", "preferences have 'input', 'preferred_output' and 'non_preferred_output', not 'messages'")
    found = wire.convert(line, wire.PreferenceLine)
    messages, _ = wire.conversation(found.input.messages, "input.messages")
    if messages[-1].role == "assistant":
        at = f"input.messages[{len(messages) - 1}].role"
        raise Wrong(at, "the input must end before the assistant answers: the answers are in the two outputs")
    chosen = _output(found.preferred_output, "preferred_output")
    rejected = _output(found.non_preferred_output, "non_preferred_output")
    if chosen == rejected:
        raise Wrong("non_preferred_output", "it is the same as 'preferred_output': there is nothing to prefer")
    return Preference(messages=messages, chosen=chosen, rejected=rejected, tools=_tools(found.input))


def _output(given: list[wire.OutputMessage], name: str) -> tuple[Message, ...]:
    messages, _ = wire.conversation(given, name)
    if messages[0].role != "assistant" or messages[-1].role != "assistant":
        raise Wrong(name, "it must begin and end with a message of the assistant")
    for at, message in enumerate(messages):
        if message.role == "assistant" and not message.content.strip() and not message.tool_calls:
            raise Wrong(f"{name}[{at}].content", "it is empty: write what the assistant answers")
    return messages


def _reinforcement(line: dict[str, Any]) -> Reinforcement:
    known = {name: line[name] for name in ("messages", "tools", "functions", "parallel_tool_calls") if name in line}
    found = wire.convert(known, wire.ChatLine)
    messages, _ = wire.conversation(found.messages, "messages")
    if messages[-1].role == "assistant":
        raise Wrong(
            f"messages[{len(messages) - 1}].role",
            "the last message must not be the assistant's: the model is to answer",
        )
    return Reinforcement(messages=messages, item=line, tools=_tools(found))


def _tools(found: wire.ChatLine | wire.PreferenceInput) -> ToolUse | None:
    return wire.tool_use(found.tools, found.functions, parallel=found.parallel_tool_calls is not False)


class ExampleFile:
    """A file of examples. `scan` reads all of it once and makes the index; after that any example is one read away.

    Args:
        path: JSON Lines.
        method: decides the format.
        name, param: what the file is called in errors, and the field of the API that named it.
    """

    def __init__(
        self, path: Path, method: Method, *, name: str = "training file", param: str = "training_file"
    ) -> None:
        self.path = path
        self.method: Method = method
        self.name, self.param = name, param
        self.index = Index()
        self.faults = Faults()

    def __len__(self) -> int:
        return len(self.index)

    def scan(self) -> Iterator[tuple[Line, Example]]:
        """Every example that is right, in the order of the file; the others become `faults`."""
        self.index, self.faults = Index(), Faults()
        for line in read_lines(self.path, self.faults):
            try:
                example = parse(line.data, self.method)
            except Wrong as wrong:
                self.faults.add(Fault(line.number, wrong.path, wrong.message))
                continue
            self.index.add(line)
            yield line, example

    def __getitem__(self, at: int) -> Example:
        return parse(self.index.read(self.path, at).data, self.method)

    def check(self, least: int = MIN_EXAMPLES) -> None:
        """After a scan.

        Raises:
            InvalidRequest: lines were wrong, or there are too few.
        """
        if self.faults.total:
            raise self.faults.error(self.name, self.param)
        if len(self) < least:
            raise InvalidRequest(
                f"The {self.name} has {len(self)} examples: at least {least} are needed.",
                code="too_few_examples",
                param=self.param,
            )
