"""What clients send about evaluations: OpenAI's request bodies. Graders stay as they came, since they are sent back so;
`graders.definitions` knows their shapes."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mainspring.api.openai.wire import ResponseFormat
from mainspring.api.openai.wire_base import NotYet, Wire
from mainspring.api.openai.wire_responses import ResponseCustomToolIn, ResponseFunctionIn, ResponseTextIn
from mainspring.api.openai.wire_tools import MAX_TOOLS, Tool

__all__ = [
    "CompletionsSourceIn",
    "CreateEvalRequest",
    "CreateEvalRunRequest",
    "EvalSamplingIn",
    "FileContentIn",
    "FileIdIn",
    "ItemReferenceIn",
    "JsonlSourceIn",
    "Labels",
    "ResponsesSamplingIn",
    "ResponsesSourceIn",
    "StoredCompletionsIn",
    "StoredResponsesIn",
    "TemplateIn",
    "TemplateMessageIn",
    "UpdateEvalRequest",
]

MAX_MESSAGES = 64
MAX_TEXT = 256 * 1024
Labels = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
Name = Annotated[str, Field(max_length=256)]
Seconds = Annotated[int, Field(ge=0, le=2**53)]


class CustomConfigIn(Wire):
    """Items of a shape of one's own."""

    type: Literal["custom"]
    item_schema: dict[str, Any] = Field(description="A JSON schema. Keywords that are not enforced are refused.")
    include_sample_schema: bool | None = Field(None, description="Whether a model answers items, or they have answers.")


class LogsConfigIn(Wire):
    """Items that are stored chats."""

    type: Literal["logs"]
    metadata: Labels | None = None


class StoredCompletionsConfigIn(Wire):
    """The older name of logs."""

    type: Literal["stored_completions"]
    metadata: Labels | None = None


class CreateEvalRequest(Wire):
    """The body of evals."""

    name: Name | None = None
    metadata: Labels | None = None
    data_source_config: Annotated[
        CustomConfigIn | LogsConfigIn | StoredCompletionsConfigIn, Field(discriminator="type")
    ]
    testing_criteria: list[dict[str, Any]] = Field(
        min_length=1, max_length=64,
        description="Graders: string_check, text_similarity, label_model, score_model, python, and multi.",
    )  # fmt: skip


class UpdateEvalRequest(Wire):
    """The body of an update."""

    name: Name | None = None
    metadata: Labels | None = None


class ItemIn(Wire):
    """An item, and maybe an answer to it: what graders see as `sample`."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class FileContentIn(Wire):
    """Items in the request."""

    type: Literal["file_content"]
    content: list[ItemIn] = Field(min_length=1)


class FileIdIn(Wire):
    """Items of a file with the purpose evals: a JSON object with `item` on each line."""

    type: Literal["file_id"]
    id: str = Field(min_length=1, max_length=256)


class StoredCompletionsIn(Wire):
    """Stored chats, the oldest first."""

    type: Literal["stored_completions"]
    metadata: Labels | None = None
    model: str | None = Field(None, max_length=256)
    created_after: Seconds | None = None
    created_before: Seconds | None = None
    limit: int | None = Field(None, ge=1, le=10_000_000)


class StoredResponsesIn(Wire):
    """Stored responses, the oldest first; turns of chats are none of them."""

    type: Literal["responses"]
    metadata: Labels | None = None
    model: str | None = Field(None, max_length=256)
    instructions_search: str | None = Field(None, max_length=4096, description="Words of the instructions.")
    created_after: Seconds | None = None
    created_before: Seconds | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    users: list[Annotated[str, Field(max_length=512)]] | None = Field(None, max_length=1000)
    tools: list[Annotated[str, Field(max_length=64)]] | None = Field(
        None, max_length=128, description="Names of functions, or types of the server's tools."
    )


class TextIn(Wire):
    """A piece of a message's text."""

    type: Literal["input_text", "output_text"]
    text: str = Field(max_length=MAX_TEXT)


def _content_kind(value: Any) -> str:
    """Also of what was parsed already: it is written as JSON again."""
    return "parts" if isinstance(value, list) else "part" if isinstance(value, dict | TextIn) else "string"


_Text = Annotated[str, Field(max_length=MAX_TEXT)]
_Piece = Annotated[Annotated[_Text, Tag("string")] | Annotated[TextIn, Tag("part")], Discriminator(_content_kind)]


class TemplateMessageIn(Wire):
    """A message whose texts are templates."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        Annotated[_Text, Tag("string")]
        | Annotated[TextIn, Tag("part")]
        | Annotated[list[_Piece], Field(min_length=1, max_length=MAX_MESSAGES), Tag("parts")],
        Discriminator(_content_kind),
    ]
    type: Literal["message"] | None = None
    phase: NotYet = None


class TemplateIn(Wire):
    """The messages that ask for an item."""

    type: Literal["template"]
    template: list[TemplateMessageIn] = Field(min_length=1, max_length=MAX_MESSAGES)


class ItemReferenceIn(Wire):
    """Where in an item the messages are."""

    type: Literal["item_reference"]
    item_reference: str = Field(pattern=r"^item(\.\w[\w-]*|\[[0-9]{1,9}\])+$", max_length=1024)


class EvalSamplingIn(Wire):
    """How the model is sampled."""

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)


class JsonlSourceIn(Wire):
    """Items that bring their answers along, or are graded by themselves."""

    type: Literal["jsonl"]
    source: Annotated[FileContentIn | FileIdIn, Field(discriminator="type")]


class CompletionsSourceIn(Wire):
    """Items that a model answers. Of stored chats, the stored answers are graded unless `input_messages` are given."""

    type: Literal["completions"]
    source: Annotated[FileContentIn | FileIdIn | StoredCompletionsIn, Field(discriminator="type")]
    input_messages: Annotated[TemplateIn | ItemReferenceIn, Field(discriminator="type")] | None = None
    model: str | None = Field(None, min_length=1, max_length=256)
    sampling_params: EvalSamplingIn | None = None


class ResponsesSamplingIn(Wire):
    """How the model is sampled, in the words of the Responses API."""

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    text: ResponseTextIn | None = None
    tools: list[Annotated[ResponseFunctionIn | ResponseCustomToolIn, Field(discriminator="type")]] | None = Field(
        None, max_length=MAX_TOOLS, description="Functions and custom tools; nobody carries out what is called."
    )


class ResponsesSourceIn(Wire):
    """Items that a model answers. Of stored responses, their answers are graded unless `input_messages` are given."""

    type: Literal["responses"]
    source: Annotated[FileContentIn | FileIdIn | StoredResponsesIn, Field(discriminator="type")]
    input_messages: Annotated[TemplateIn | ItemReferenceIn, Field(discriminator="type")] | None = None
    model: str | None = Field(None, min_length=1, max_length=256)
    sampling_params: ResponsesSamplingIn | None = None


class CreateEvalRunRequest(Wire):
    """The body of a run."""

    name: Name | None = None
    metadata: Labels | None = None
    data_source: Annotated[JsonlSourceIn | CompletionsSourceIn | ResponsesSourceIn, Field(discriminator="type")]
