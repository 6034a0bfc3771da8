"""What clients send: OpenAI's request bodies as strict pydantic models. Null always means absent.

A field that OpenAI has and this server does not support yet is typed `None`: null passes, anything else is a 400 that
names it, and the OpenAPI document says so. Fields that are in no model are unknown: also a 400. What no single field
can tell (two fields that exclude each other) is checked where the request is built, in `chat` and `completions`.
"""

from typing import Annotated, Any, Literal, cast

from pydantic import Discriminator, Field, Tag

from mainspring.api.openai.data_sources import VectorStoreSource
from mainspring.api.openai.wire_base import Label, NotYet, Wire
from mainspring.api.openai.wire_tools import (
    MAX_TOOLS,
    CalledFunction,
    Function,
    FunctionCallChoice,
    Tool,
    ToolCall,
    ToolChoice,
)

__all__ = [
    "MAX_CHOICES",
    "AssistantMessage",
    "ChatRequest",
    "CompletionRequest",
    "Content",
    "DeploymentChatRequest",
    "DeploymentCompletionRequest",
    "DeploymentEmbeddingRequest",
    "EmbeddingInput",
    "EmbeddingRequest",
    "FunctionMessage",
    "JsonSchemaFormat",
    "Message",
    "Prompt",
    "RefusalPart",
    "ResponseFormat",
    "SamplingFields",
    "StreamOptions",
    "TextPart",
    "ToolMessage",
]

MAX_CHOICES = 16
MAX_PROMPTS = 2048
MAX_TOKENS = 2**31 - 1  # also the largest token id: the inference library's ids are int32

Name = Annotated[str | None, Field(max_length=64)]


def _array_or_string(value: Any) -> str:
    return "array" if isinstance(value, list) else "string"


class TextPart(Wire):
    """A piece of a message's text. Images, audio and files are not supported yet."""

    type: Literal["text"]
    text: str


class RefusalPart(Wire):
    """A piece of an earlier refusal; only the assistant has any."""

    type: Literal["refusal"]
    refusal: str


Content = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[TextPart], Field(min_length=1), Tag("array")],
    Discriminator(_array_or_string),
]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
AssistantContent = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[AssistantPart], Field(min_length=1), Tag("array")],
    Discriminator(_array_or_string),
]


class SystemMessage(Wire):
    """Instructions, by the older or the newer name of the role."""

    role: Literal["system", "developer"]
    content: Content
    name: Name = None


class UserMessage(Wire):
    """What the person says."""

    role: Literal["user"]
    content: Content
    name: Name = None


class AssistantMessage(Wire):
    """What the model said before."""

    role: Literal["assistant"]
    content: AssistantContent | None = None
    refusal: str | None = None
    name: Name = None
    audio: NotYet = None
    function_call: CalledFunction | None = Field(None, description="The older form of tool_calls.")
    tool_calls: list[ToolCall] | None = Field(None, max_length=MAX_TOOLS)
    reasoning_content: str | None = Field(
        None, description="What a reasoning model thought; it is not shown to the model again."
    )


class ToolMessage(Wire):
    """The result of a tool that the client ran."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str = Field(min_length=1, max_length=256)


class FunctionMessage(Wire):
    """The result of a function that the client ran: the older form of a tool message."""

    role: Literal["function"]
    content: str | None
    name: str = Field(min_length=1, max_length=64)


Message = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage, Field(discriminator="role")
]


class StreamOptions(Wire):
    """How a stream is written; only together with `stream`."""

    include_usage: bool | None = Field(None, description="Send a last chunk with the usage of the request.")
    include_obfuscation: bool | None = Field(
        None, description="Pad chunks so that their size does not tell the length of a token. On by default."
    )


class TextFormat(Wire):
    """Free text: the default."""

    type: Literal["text"]


class JsonObjectFormat(Wire):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(Wire):
    """A JSON schema and its name."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = Field(None, max_length=4096)
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = Field(None, description="Refuse schemas outside of the strict subset of JSON schema.")


class JsonSchemaFormat(Wire):
    """JSON that matches a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class RegexFormat(Wire):
    """Text that matches a regular expression as a whole; an extension."""

    type: Literal["regex"]
    regex: str = Field(min_length=1, max_length=65_536)


class LarkFormat(Wire):
    """Text that matches a Lark grammar in llguidance's dialect; an extension."""

    type: Literal["grammar"]
    grammar: str = Field(min_length=1, max_length=256 * 1024)


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | LarkFormat, Field(discriminator="type")
]


class Prediction(Wire):
    """Text that the answer will repeat in large parts: what it repeats is generated faster."""

    type: Literal["content"]
    content: Content


class TemplateOptions(Wire):
    """Switches of chat templates; an extension that other servers know by the same name."""

    enable_thinking: bool | None = None
    thinking: bool | None = None


StopString = Annotated[str, Field(min_length=1, max_length=1024)]
Stop = Annotated[
    Annotated[StopString, Tag("string")] | Annotated[list[StopString], Field(max_length=4), Tag("array")],
    Discriminator(_array_or_string),
]
TokenId = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
BiasKey = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]


class SamplingFields(Wire):
    """The fields that chat and completions share."""

    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[BiasKey, Bias] | None = Field(None, max_length=1024, description="Token id -> bias of its logit.")
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Stop | None = Field(None, description="Up to four strings that end a choice; they are not part of it.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1, description="0 means greedy.")
    user: Label = None


class DeploymentChatRequest(SamplingFields):
    """The body of chat/completions where the path names the deployment; `model` is then a label."""

    model: Label = None
    messages: list[Message] = Field(min_length=1, max_length=4096)
    logprobs: bool | None = None
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS, description="The older name of max_completion_tokens.")
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        None, max_length=16, description="Labels of the client's own; they do not change the answer."
    )
    modalities: list[Literal["text"]] | None = Field(None, min_length=1, max_length=1)
    prompt_cache_key: Label = None
    response_format: ResponseFormat | None = None
    safety_identifier: Label = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = Field(
        None, description="Who goes first: priority before default before flex, which gives way and is resumed."
    )
    store: bool | None = Field(None, description="Keep the answer, to be looked at again and evaluated.")
    top_logprobs: int | None = Field(None, ge=0, le=20)
    chat_template_kwargs: TemplateOptions | None = None
    function_call: FunctionCallChoice | None = Field(None, description="The older form of tool_choice.")
    functions: list[Function] | None = Field(None, max_length=MAX_TOOLS, description="The older form of tools.")
    parallel_tool_calls: bool | None = Field(None, description="Whether one answer may hold several calls.")
    prediction: Prediction | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description="none and minimal ask a reasoning model to answer at once; the others to think first."
    )
    tool_choice: ToolChoice | None = None
    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)
    data_sources: list[VectorStoreSource] | None = Field(
        None, min_length=1, max_length=1, description="Answer from documents, as Azure's On Your Data does."
    )
    audio: NotYet = None
    moderation: NotYet = None
    prompt_cache_options: NotYet = None
    prompt_cache_retention: NotYet = None
    user_security_context: NotYet = None
    verbosity: NotYet = None
    web_search_options: NotYet = None


class ChatRequest(DeploymentChatRequest):
    """The body of chat/completions."""

    model: str = Field(min_length=1, max_length=256)  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


def _prompt_kind(value: Any) -> str:
    if not isinstance(value, list):
        return "string"
    items = cast("list[Any]", value)
    first: Any = items[0] if items else ""
    if isinstance(first, list):
        return "token arrays"
    return "tokens" if isinstance(first, int) and not isinstance(first, bool) else "strings"


Tokens = Annotated[list[TokenId], Field(min_length=1)]
Prompts = Field(min_length=1, max_length=MAX_PROMPTS)
Prompt = Annotated[
    Annotated[str, Tag("string")]
    | Annotated[list[str], Prompts, Tag("strings")]
    | Annotated[Tokens, Tag("tokens")]
    | Annotated[list[Tokens], Prompts, Tag("token arrays")],
    Discriminator(_prompt_kind),
]


class DeploymentCompletionRequest(SamplingFields):
    """The body of completions where the path names the deployment; `model` is then a label."""

    model: Label = None
    prompt: Prompt
    best_of: int | None = Field(None, ge=1, le=20)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=5)
    max_tokens: int | None = Field(None, ge=0, le=MAX_TOKENS, description="16 by default; 0 only together with echo.")
    stop_at_dedent: bool | None = Field(
        None, description="With suffix: stop before a line that leaves the block of code of the prompt; an extension."
    )
    suffix: str | None = Field(
        None,
        max_length=4 * 2**20,
        description="What follows the gap that is to be filled in. Models without markers for it continue the "
        "prompt and stop where the suffix would begin again.",
    )


class CompletionRequest(DeploymentCompletionRequest):
    """The body of completions."""

    model: str = Field(min_length=1, max_length=256)  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]


Text = Annotated[str, Field(min_length=1)]
EmbeddingInput = Annotated[
    Annotated[Text, Tag("string")]
    | Annotated[list[Text], Prompts, Tag("strings")]
    | Annotated[Tokens, Tag("tokens")]
    | Annotated[list[Tokens], Prompts, Tag("token arrays")],
    Discriminator(_prompt_kind),
]


class DeploymentEmbeddingRequest(Wire):
    """The body of embeddings where the path names the deployment; `model` is then a label."""

    model: Label = None
    input: EmbeddingInput = Field(description="Up to 2,048 texts or token arrays; none may be empty.")
    dimensions: int | None = Field(
        None, ge=1, le=65536, description="Cut vectors to this length; only models trained for it can."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="float by default; base64 is of little-endian float32."
    )
    user: Label = None
    input_type: NotYet = None


class EmbeddingRequest(DeploymentEmbeddingRequest):
    """The body of embeddings."""

    model: str = Field(min_length=1, max_length=256)  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
