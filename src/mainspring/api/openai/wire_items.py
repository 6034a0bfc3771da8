"""Items as clients send them: what was said, called and answered, in a response's input or a conversation.

Each model is one of OpenAI's items, with the fields that only the server's own items have: what came out of one
response goes into the next as it is.
"""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from mainspring.api.openai.wire_base import NotYet, Wire
from mainspring.api.openai.wire_server_tools import (
    CodeInterpreterCallIn,
    FileSearchCallIn,
    McpApprovalRequestIn,
    McpApprovalResponseIn,
    McpCallIn,
    McpListToolsIn,
    WebSearchCallIn,
)
from mainspring.api.openai.wire_tools import Arguments, CallId

__all__ = ["InputItem", "Items", "MessageIn"]

MAX_ITEMS = 10_000

ItemId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Status = Literal["in_progress", "completed", "incomplete"]


def _array_or_string(value: Any) -> str:
    return "array" if isinstance(value, list) else "string"


def _or_nothing(tag: str) -> dict[str, Any]:
    """The schema of a type that need not be said: `_with_type` fills it in."""
    return {"anyOf": [{"const": tag, "type": "string"}, {"type": "null"}]}


class InputTextIn(Wire):
    """A piece of text. Images and files are not supported yet."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: NotYet = None


class FileCitationIn(Wire):
    """A file that the text cites."""

    type: Literal["file_citation"]
    file_id: str
    filename: str
    index: int
    supported: bool | None = None
    support_score: float | None = None


class UrlCitationIn(Wire):
    """A page that the text cites."""

    type: Literal["url_citation"]
    url: str
    title: str
    start_index: int
    end_index: int
    supported: bool | None = None
    support_score: float | None = None


class ContainerFileCitationIn(Wire):
    """A file of a code interpreter that the text cites."""

    type: Literal["container_file_citation"]
    container_id: str
    file_id: str
    filename: str
    start_index: int
    end_index: int


class FilePathIn(Wire):
    """A file that the text names."""

    type: Literal["file_path"]
    file_id: str
    index: int


class TopLogProbIn(Wire):
    """A token that was likely."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class LogProbIn(TopLogProbIn):
    """A token of the text."""

    top_logprobs: list[TopLogProbIn] | None = None


class OutputTextIn(Wire):
    """Text that the model has written."""

    type: Literal["output_text"]
    text: str
    annotations: (
        list[
            Annotated[
                FileCitationIn | UrlCitationIn | ContainerFileCitationIn | FilePathIn, Field(discriminator="type")
            ]
        ]
        | None
    ) = None
    logprobs: list[LogProbIn] | None = Field(None, description="Not kept: they were of another answer.")


class RefusalIn(Wire):
    """What the model said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[InputTextIn | OutputTextIn | RefusalIn, Field(discriminator="type")]


class MessageIn(Wire):
    """A message of anybody's; an object with a role and no type is one too."""

    type: Annotated[Literal["message"], WithJsonSchema(_or_nothing("message"))] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        Annotated[str, Tag("string")] | Annotated[list[Part], Tag("array")], Discriminator(_array_or_string)
    ]
    id: ItemId | None = None
    status: Status | None = None
    phase: NotYet = None


class FunctionCallIn(Wire):
    """A call of a function that the model made."""

    type: Literal["function_call"]
    call_id: CallId
    name: str = Field(min_length=1, max_length=64)
    arguments: Arguments
    id: ItemId | None = None
    status: Status | None = None
    namespace: NotYet = None
    caller: NotYet = None
    created_by: NotYet = None


Output = Annotated[
    Annotated[str, Field(max_length=10 * 2**20), Tag("string")] | Annotated[list[InputTextIn], Tag("array")],
    Discriminator(_array_or_string),
]


class FunctionCallOutputIn(Wire):
    """What came of it."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: Output
    id: ItemId | None = None
    status: Status | None = None
    name: NotYet = None
    namespace: NotYet = None
    caller: NotYet = None
    created_by: NotYet = None


class CustomCallIn(Wire):
    """A call of a custom tool that the model made."""

    type: Literal["custom_tool_call"]
    call_id: CallId
    name: str = Field(min_length=1, max_length=64)
    input: Arguments
    id: ItemId | None = None
    status: Status | None = None
    namespace: NotYet = None
    caller: NotYet = None
    created_by: NotYet = None


class CustomCallOutputIn(Wire):
    """What came of it."""

    type: Literal["custom_tool_call_output"]
    call_id: CallId
    output: Output
    id: ItemId | None = None
    status: Status | None = None
    caller: NotYet = None
    created_by: NotYet = None


class SummaryTextIn(Wire):
    """What was shown of a thought."""

    type: Literal["summary_text"]
    text: str


class ReasoningTextIn(Wire):
    """What the model thought."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningIn(Wire):
    """A thought of the model's. It is kept, and not shown to the model again."""

    type: Literal["reasoning"]
    summary: list[SummaryTextIn]
    id: ItemId | None = None
    content: list[ReasoningTextIn] | None = None
    encrypted_content: str | None = Field(None, max_length=20 * 2**20)
    status: Status | None = None


class CompactionIn(Wire):
    """A summary of what was said, as responses/compact made it."""

    type: Literal["compaction"]
    encrypted_content: str = Field(max_length=20 * 2**20)
    id: ItemId | None = None
    created_by: NotYet = None


class ItemReferenceIn(Wire):
    """An item that is kept here already; an object with nothing but an id is one too."""

    type: Annotated[Literal["item_reference"], WithJsonSchema(_or_nothing("item_reference"))] = "item_reference"
    id: ItemId


def _with_type(value: Any) -> Any:
    """OpenAI's two items that need not say what they are."""
    if isinstance(value, dict) and cast("dict[str, Any]", value).get("type") is None:
        item = cast("dict[str, Any]", value)
        return {**item, "type": "item_reference" if "role" not in item and "id" in item else "message"}
    return cast("Any", value)


InputItem = Annotated[
    Annotated[
        MessageIn
        | FunctionCallIn
        | FunctionCallOutputIn
        | CustomCallIn
        | CustomCallOutputIn
        | ReasoningIn
        | CompactionIn
        | FileSearchCallIn
        | WebSearchCallIn
        | CodeInterpreterCallIn
        | McpListToolsIn
        | McpCallIn
        | McpApprovalRequestIn
        | McpApprovalResponseIn
        | ItemReferenceIn,
        Field(discriminator="type"),
    ],
    BeforeValidator(_with_type),
]
Items = Annotated[list[InputItem], Field(max_length=MAX_ITEMS)]
