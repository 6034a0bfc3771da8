"""What clients send about tools: what may be called, what must be, and what was."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mainspring.api.openai.wire_base import Wire

__all__ = [
    "AllowedTools",
    "CustomCall",
    "CustomTool",
    "Function",
    "FunctionCall",
    "FunctionCallChoice",
    "FunctionTool",
    "GrammarFormat",
    "Named",
    "NamedFunction",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "named",
]

MAX_TOOLS = 128
MAX_DESCRIPTION_CHARS = 65_536
MAX_ARGUMENTS_CHARS = 4 * 2**20

ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Description = Annotated[str | None, Field(max_length=MAX_DESCRIPTION_CHARS)]
CallId = Annotated[str, Field(min_length=1, max_length=256)]
Arguments = Annotated[str, Field(max_length=MAX_ARGUMENTS_CHARS)]


class Function(Wire):
    """A function that the model may call; `parameters` is a JSON schema, none means no arguments."""

    name: ToolName
    description: Description = None
    parameters: dict[str, Any] | None = None


class StrictFunction(Function):
    """The same as a tool."""

    strict: bool | None = Field(
        None, description="Arguments always match the schema, which must be of the strict subset of JSON schema."
    )


class FunctionTool(Wire):
    """A tool that takes JSON."""

    type: Literal["function"]
    function: StrictFunction


class TextInput(Wire):
    """Any text."""

    type: Literal["text"]


class Grammar(Wire):
    """A grammar: a regular expression, or Lark in llguidance's dialect."""

    syntax: Literal["lark", "regex"]
    definition: str = Field(min_length=1, max_length=256 * 1024)


class GrammarFormat(Wire):
    """Text that matches a grammar."""

    type: Literal["grammar"]
    grammar: Grammar


class Custom(Wire):
    """A tool that takes text."""

    name: ToolName
    description: Description = None
    format: Annotated[TextInput | GrammarFormat, Field(discriminator="type")] | None = None


class CustomTool(Wire):
    """A tool that takes text."""

    type: Literal["custom"]
    custom: Custom


Tool = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]


class Named(Wire):
    """Only a name."""

    name: str = Field(min_length=1, max_length=64)


class NamedFunction(Wire):
    """A function by its name."""

    type: Literal["function"]
    function: Named


class NamedCustom(Wire):
    """A custom tool by its name."""

    type: Literal["custom"]
    custom: Named


NamedTool = Annotated[NamedFunction | NamedCustom, Field(discriminator="type")]


class Allowed(Wire):
    """Some of the tools, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1, max_length=MAX_TOOLS)


class AllowedTools(Wire):
    """A choice among some of the tools; all of them stay in the prompt, so that its cache stays valid."""

    type: Literal["allowed_tools"]
    allowed_tools: Allowed


def _word_or_object(value: Any) -> str:
    return "object" if isinstance(value, dict | Wire) else "word"  # parsed already: it is written as JSON again


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[
        Annotated[NamedFunction | NamedCustom | AllowedTools, Field(discriminator="type")],
        Tag("object"),
    ],
    Discriminator(_word_or_object),
]
FunctionCallChoice = Annotated[
    Annotated[Literal["none", "auto"], Tag("word")] | Annotated[Named, Tag("object")], Discriminator(_word_or_object)
]


class CalledFunction(Wire):
    """What was called, with JSON as text, as the model wrote it."""

    name: str = Field(min_length=1, max_length=64)
    arguments: Arguments


class CalledCustom(Wire):
    """What was called, with its input."""

    name: str = Field(min_length=1, max_length=64)
    input: Arguments


class FunctionCall(Wire):
    """A call that the model made."""

    id: CallId
    type: Literal["function"]
    function: CalledFunction


class CustomCall(Wire):
    """A call of a custom tool that the model made."""

    id: CallId
    type: Literal["custom"]
    custom: CalledCustom


ToolCall = Annotated[FunctionCall | CustomCall, Field(discriminator="type")]


def named(tool: NamedFunction | NamedCustom) -> str:
    """The name of a named tool."""
    return tool.function.name if isinstance(tool, NamedFunction) else tool.custom.name
