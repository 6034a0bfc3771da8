"""What the server sends about responses and conversations beside the responses themselves."""

from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec

from mainspring.responses.items import (
    CompactionItem,
    CustomCallItem,
    CustomCallOutputItem,
    FunctionCallItem,
    FunctionCallOutputItem,
    MessageItem,
    ReasoningItem,
    ResponseUsage,
)
from mainspring.responses.shown import shown_entry
from mainspring.store import conversations as kept
from mainspring.store.responses import Entry

__all__ = [
    "Conversation",
    "ConversationDeleted",
    "ConversationItem",
    "InputTokens",
    "ItemList",
    "ResponseCompaction",
    "ResponseDeleted",
]

Item = (
    MessageItem
    | ReasoningItem
    | FunctionCallItem
    | FunctionCallOutputItem
    | CustomCallItem
    | CustomCallOutputItem
    | CompactionItem
)


class ConversationItem(msgspec.Struct, frozen=True):
    """Any item, for the description of the API: its other fields are those of OpenAI's item of that type."""

    type: str
    id: str


class ItemList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of items. `data` holds objects that were kept of such; the ids of an empty page are empty."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str
    last_id: str
    has_more: bool

    @classmethod
    def of(cls, entries: Sequence[Entry], include: Collection[str], *, has_more: bool) -> "ItemList":
        """From what is kept."""
        data: list[Any] = [shown_entry(entry, include) for entry in entries]
        first, last = (data[0]["id"], data[-1]["id"]) if data else ("", "")
        return cls(data=data, first_id=first, last_id=last, has_more=has_more)


class ResponseDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a response is gone."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class InputTokens(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens a model would be shown."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class ResponseCompaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation may go on from in the place of all that was said."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    output: list[CompactionItem]
    usage: ResponseUsage


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. `created_at` is in Unix seconds."""

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]

    @classmethod
    def of(cls, found: kept.Conversation) -> "Conversation":
        """From what is kept."""
        return cls(id=found.id, created_at=int(found.created), metadata=found.metadata)


class ConversationDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a conversation is gone."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True
