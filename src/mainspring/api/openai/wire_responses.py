"""What clients send to responses and conversations: OpenAI's request bodies."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mainspring.api.openai.wire import MAX_TOKENS, JsonObjectFormat, TextFormat
from mainspring.api.openai.wire_base import Label, NotYet, Wire
from mainspring.api.openai.wire_items import InputItem, Items
from mainspring.api.openai.wire_server_tools import (
    CodeInterpreterToolIn,
    FileSearchToolIn,
    McpToolIn,
    WebSearchToolIn,
)
from mainspring.api.openai.wire_tools import MAX_TOOLS, Description, Grammar, TextInput, ToolName

__all__ = [
    "CompactResponseRequest",
    "CountTokensRequest",
    "CreateConversationItemsRequest",
    "CreateConversationRequest",
    "CreateResponseRequest",
    "ResponseCustomToolIn",
    "ResponseFunctionIn",
    "ResponseJsonSchemaIn",
    "ResponseTool",
    "UpdateConversationRequest",
]

MAX_INPUT_CHARS = 10 * 2**20
ResponseId = Annotated[str, Field(min_length=1, max_length=128)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class ResponseFunctionIn(Wire):
    """A function of the client's; `parameters` is a JSON schema, none means no arguments."""

    type: Literal["function"]
    name: ToolName
    description: Description = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = Field(
        None,
        description="Arguments always match the schema. By default it is so if the schema is of the strict subset.",
    )
    output_schema: NotYet = None
    defer_loading: NotYet = None
    allowed_callers: NotYet = None


class ResponseGrammarIn(Grammar):
    """Text that matches a grammar."""

    type: Literal["grammar"]


class ResponseCustomToolIn(Wire):
    """A tool of the client's that takes text."""

    type: Literal["custom"]
    name: ToolName
    description: Description = None
    format: Annotated[TextInput | ResponseGrammarIn, Field(discriminator="type")] | None = None
    defer_loading: NotYet = None
    allowed_callers: NotYet = None


ResponseTool = Annotated[
    ResponseFunctionIn | ResponseCustomToolIn | FileSearchToolIn | WebSearchToolIn | CodeInterpreterToolIn | McpToolIn,
    Field(discriminator="type"),
]


class ChosenFunctionIn(Wire):
    """A function by its name."""

    type: Literal["function"]
    name: str = Field(min_length=1, max_length=64)


class ChosenCustomToolIn(Wire):
    """A custom tool by its name."""

    type: Literal["custom"]
    name: str = Field(min_length=1, max_length=64)


class ChosenServerIn(Wire):
    """An MCP server, or one of its tools."""

    type: Literal["mcp"]
    server_label: str = Field(min_length=1, max_length=256)
    name: str | None = Field(None, min_length=1, max_length=256)


class ChosenTypeIn(Wire):
    """A tool that the server carries out."""

    type: Literal[
        "file_search", "web_search", "web_search_preview", "web_search_preview_2025_03_11", "image_generation",
        "code_interpreter", "computer", "computer_use_preview", "computer_use",
    ]  # fmt: skip


Chosen = Annotated[
    ChosenFunctionIn | ChosenCustomToolIn | ChosenServerIn | ChosenTypeIn, Field(discriminator="type")
]  # fmt: skip


class AllowedToolsIn(Wire):
    """Some of the tools, and whether one of them must be called."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[Chosen] = Field(min_length=1, max_length=MAX_TOOLS)


def _word_or_object(value: Any) -> str:
    return "object" if isinstance(value, dict) else "word"


ResponseToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[
        Annotated[
            ChosenFunctionIn | ChosenCustomToolIn | ChosenServerIn | ChosenTypeIn | AllowedToolsIn,
            Field(discriminator="type"),
        ],
        Tag("object"),
    ],
    Discriminator(_word_or_object),
]


class ResponseJsonSchemaIn(Wire):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = Field(None, max_length=4096)
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = Field(None, description="Refuse schemas outside of the strict subset of JSON schema.")


class ResponseTextIn(Wire):
    """What the text is to be."""

    format: Annotated[TextFormat | JsonObjectFormat | ResponseJsonSchemaIn, Field(discriminator="type")] | None = None
    verbosity: NotYet = None


class ReasoningOptionsIn(Wire):
    """How the model thinks before it answers, if it does."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        None, description="none and minimal ask a reasoning model to answer at once; the others to think first."
    )
    summary: Literal["auto", "detailed"] | None = Field(
        None,
        description="Show thoughts as summaries. They are the thoughts themselves, whole: no shorter ones are written.",
    )
    generate_summary: Literal["auto", "detailed"] | None = Field(None, description="The older name of summary.")
    context: NotYet = None
    mode: NotYet = None


class ResponseStreamOptionsIn(Wire):
    """How a stream is written; only together with `stream`."""

    include_obfuscation: bool | None = Field(
        None, description="Pad events so that their size does not tell the length of a token. On by default."
    )


class ConversationIn(Wire):
    """A conversation by its id."""

    id: ResponseId


def _string_or_object(value: Any) -> str:
    return "object" if isinstance(value, dict) else "string"


def _array_or_string(value: Any) -> str:
    return "array" if isinstance(value, list) else "string"


Include = list[
    Literal[
        "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
        "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
        "reasoning.encrypted_content", "message.output_text.logprobs",
    ]
]  # fmt: skip
Input = Annotated[
    Annotated[str, Field(max_length=MAX_INPUT_CHARS), Tag("string")] | Annotated[Items, Tag("array")],
    Discriminator(_array_or_string),
]
OfConversation = Annotated[
    Annotated[ResponseId, Tag("string")] | Annotated[ConversationIn, Tag("object")], Discriminator(_string_or_object)
]


class _Asking(Wire):
    """What decides what a model is shown."""

    input: Input | None = None
    instructions: str | None = Field(
        None, max_length=MAX_INPUT_CHARS, description="Of this response alone: later ones do not take them over."
    )
    previous_response_id: ResponseId | None = Field(None, description="Go on from this response.")


class _WithTools(_Asking):
    conversation: OfConversation | None = Field(None, description="Go on from its items, and add to them at the end.")
    parallel_tool_calls: bool | None = Field(None, description="Whether one answer may hold several calls.")
    reasoning: ReasoningOptionsIn | None = None
    text: ResponseTextIn | None = None
    tool_choice: ResponseToolChoice | None = None
    tools: list[ResponseTool] | None = Field(None, max_length=MAX_TOOLS)
    truncation: Literal["auto", "disabled"] | None = Field(
        None, description="auto leaves out the oldest of what does not fit into the model's context."
    )


class CreateResponseRequest(_WithTools):
    """The body of responses."""

    model: str = Field(min_length=1, max_length=256)
    background: bool | None = Field(None, description="Make it whether the client waits or not.")
    include: Include | None = Field(None, max_length=16)
    max_output_tokens: int | None = Field(None, ge=16, le=MAX_TOKENS, description="Of all generations together.")
    max_tool_calls: int | None = Field(None, ge=1, le=128, description="Calls that the server itself carries out.")
    metadata: Metadata | None = Field(None, description="Labels of the client's own; they do not change the answer.")
    prompt_cache_key: Label = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = Field(
        None, description="Who goes first: priority before default before flex, which gives way and is resumed."
    )
    store: bool | None = Field(None, description="Keep the response, for the time that the server keeps any.")
    stream: bool | None = None
    stream_options: ResponseStreamOptionsIn | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    top_p: float | None = Field(None, ge=0, le=1, description="0 means greedy.")
    user: Label = None
    context_management: NotYet = None
    moderation: NotYet = None
    prompt: NotYet = None
    prompt_cache_options: NotYet = None
    prompt_cache_retention: NotYet = None


class CountTokensRequest(_WithTools):
    """The body of responses/input_tokens."""

    model: str = Field(min_length=1, max_length=256)
    personality: NotYet = None


class CompactResponseRequest(_Asking):
    """The body of responses/compact."""

    model: str = Field(min_length=1, max_length=256)
    prompt_cache_key: Label = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    prompt_cache_options: NotYet = None
    prompt_cache_retention: NotYet = None


class CreateConversationRequest(Wire):
    """The body of conversations."""

    items: list[InputItem] | None = Field(None, max_length=20)
    metadata: Metadata | None = None


class UpdateConversationRequest(Wire):
    """The body of a change of one."""

    metadata: Metadata


class CreateConversationItemsRequest(Wire):
    """Items to add to one."""

    items: list[InputItem] = Field(max_length=20)
