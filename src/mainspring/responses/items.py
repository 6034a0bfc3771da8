"""What responses are made of, as structs whose encoding is OpenAI's: parts of text, items, and the response itself.

Items of tools that the server carries out are in `items_tools.py`. What clients send is not decoded into these: items
from outside are objects that the edge has checked, and are kept as they are.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

__all__ = [
    "Annotation",
    "CompactionItem",
    "ContainerFileCitation",
    "CustomCallItem",
    "CustomCallOutputItem",
    "FileCitation",
    "FilePath",
    "FunctionCallItem",
    "FunctionCallOutputItem",
    "IncompleteDetails",
    "InputText",
    "ItemStatus",
    "LogProb",
    "MessageItem",
    "OutputText",
    "ReasoningItem",
    "ReasoningText",
    "Refusal",
    "Response",
    "ResponseConversation",
    "ResponseError",
    "ResponseFilter",
    "ResponseStatus",
    "ResponseUsage",
    "SummaryText",
    "TopLogProb",
]

ItemStatus = Literal["in_progress", "completed", "incomplete"]
ResponseStatus = Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]


class TopLogProb(msgspec.Struct, frozen=True):
    """A token that was likely, its bytes, and how likely (natural log)."""

    token: str
    logprob: float
    bytes: list[int]


class LogProb(msgspec.Struct, frozen=True):
    """A token of a text, and what else could have stood in its place."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogProb]


class FileCitation(msgspec.Struct, frozen=True, tag_field="type", tag="file_citation"):
    """A file that a text cites; `index` is where in the text, in characters. `supported`, which is ours, says whether
    the sentence's words are those of the passage that it cites, or its meaning is; `support_score` is the latter's
    cosine, where there is an embedding model."""

    file_id: str
    filename: str
    index: int
    supported: bool | UnsetType = UNSET
    support_score: float | UnsetType = UNSET


class UrlCitation(msgspec.Struct, frozen=True, tag_field="type", tag="url_citation"):
    """A page that a text cites, and the characters that do; the others as of files."""

    url: str
    title: str
    start_index: int
    end_index: int
    supported: bool | UnsetType = UNSET
    support_score: float | UnsetType = UNSET


class ContainerFileCitation(msgspec.Struct, frozen=True, tag_field="type", tag="container_file_citation"):
    """A file of a code interpreter that a text cites."""

    container_id: str
    file_id: str
    filename: str
    start_index: int
    end_index: int


class FilePath(msgspec.Struct, frozen=True, tag_field="type", tag="file_path"):
    """A file that a text names."""

    file_id: str
    index: int


Annotation = FileCitation | UrlCitation | ContainerFileCitation | FilePath


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """What somebody said to the model."""

    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """What the model said."""

    text: str
    annotations: list[Annotation] = []
    logprobs: list[LogProb] = []


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """What the model said instead of an answer."""

    refusal: str


class ReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryText(msgspec.Struct, frozen=True, tag_field="type", tag="summary_text"):
    """What is shown of it."""

    text: str


class MessageItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message of anybody's."""

    id: str
    role: Literal["user", "system", "developer", "assistant"] = "assistant"
    status: ItemStatus = "completed"
    content: list[InputText | OutputText | Refusal]


class ReasoningItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """A thought. `encrypted_content` is what a client that keeps nothing here sends back."""

    id: str
    summary: list[SummaryText] = []
    content: list[ReasoningText] | UnsetType = UNSET
    encrypted_content: str | UnsetType | None = UNSET
    status: ItemStatus | UnsetType = UNSET


class FunctionCallItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A call of a function of the client's; `arguments` is JSON text."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus = "completed"


class FunctionCallOutputItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"):
    """What came of it."""

    id: str
    call_id: str
    output: str | list[InputText]
    status: ItemStatus = "completed"


class CustomCallItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call"):
    """A call of a custom tool of the client's; `input` is any text."""

    id: str
    call_id: str
    name: str
    input: str
    status: ItemStatus = "completed"


class CustomCallOutputItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call_output"):
    """What came of it."""

    id: str
    call_id: str
    output: str | list[InputText]
    status: ItemStatus = "completed"


class CompactionItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="compaction"):
    """What stands for everything that was said before it: see `compaction.py`."""

    id: str
    encrypted_content: str


class InputTokensDetails(msgspec.Struct, frozen=True):
    """What the prompts were made of."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """What was generated."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """Tokens of all generations of a response."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int

    @classmethod
    def of(cls, *, prompt: int, cached: int, completion: int, reasoning: int) -> "ResponseUsage":
        """From what was counted."""
        return cls(
            prompt, InputTokensDetails(cached), completion, OutputTokensDetails(reasoning), prompt + completion
        )  # fmt: skip


class ResponseError(msgspec.Struct, frozen=True):
    """Why a response has failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why an answer ends before its end."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseConversation(msgspec.Struct, frozen=True):
    """The conversation that a response belongs to."""

    id: str


class ResponseFilterOffsets(msgspec.Struct, frozen=True):
    """Where in the text, in characters."""

    start_offset: int
    end_offset: int
    check_offset: int


class ResponseFilter(msgspec.Struct, frozen=True):
    """What the content filters found, as Azure tells it."""

    blocked: bool
    source_type: Literal["prompt", "completion"]
    content_filter_results: dict[str, Any]
    content_filter_offsets: ResponseFilterOffsets


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A response. Times are Unix seconds. `output` holds structs of this module, or objects that were kept of such."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus
    background: bool = False
    completed_at: int | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    model: str
    output: list[Any] = []
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    conversation: ResponseConversation | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, Any] = {}
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = True
    temperature: float = 1.0
    text: dict[str, Any] = {}
    tool_choice: str | dict[str, Any] = "auto"
    tools: list[dict[str, Any]] = []
    top_logprobs: int = 0
    top_p: float = 1.0
    truncation: Literal["auto", "disabled"] = "disabled"
    usage: ResponseUsage | None = None
    user: str | UnsetType = UNSET
    metadata: dict[str, str] = {}
    content_filters: list[ResponseFilter] | UnsetType = UNSET
