"""Answers that are kept, and conversations."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["conversation_items", "conversations", "response_events", "response_items", "responses"]

# See store/responses.py.
responses = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False, index=True),
    Column("creator", String(128), nullable=False),  # the id of the key, or of the token's user
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Column("status", String(16), nullable=False),
    Column("background", Boolean, nullable=False),
    Column("streamed", Boolean, nullable=False),  # there is a log of its events
    Column("previous", String(64)),  # the response that it goes on from
    Column("conversation", String(64)),
    Column("include", Text, nullable=False),  # what was asked for beside the usual, as a JSON list
    Column("body", Text, nullable=False),  # as OpenAI writes it, without its output
    Column("chat", String(64), index=True),  # whose turn it is; its owner alone may see it
    Column("words", Text),  # of a chat's turns: what was said, as a search compares it
)

# What went into a response, then what came out.
response_items = Table(
    "response_items",
    metadata,
    Column("response", String(64), ForeignKey("responses.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("is_output", Boolean, nullable=False),
    Column("item", String(128), nullable=False, index=True),  # its id
    Column("body", Text, nullable=False),  # as OpenAI writes it
    Column("kept", Text, nullable=False),  # JSON that is never shown
)

# Its events, several to a row, each a line of JSON.
response_events = Table(
    "response_events",
    metadata,
    Column("response", String(64), ForeignKey("responses.id"), primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),  # sequence numbers
    Column("last", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON
    Column("next", BigInteger, nullable=False),  # the number of the item that comes next
    Column("busy", String(64), nullable=False),  # the response that is being made of it, or empty
    Column("until", Float, nullable=False),  # when that is given up
)

conversation_items = Table(
    "conversation_items",
    metadata,
    Column("conversation", String(64), ForeignKey("conversations.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("item", String(128), nullable=False),
    Column("body", Text, nullable=False),
    Column("kept", Text, nullable=False),
)

Index("conversation_items_by_id", conversation_items.c.conversation, conversation_items.c.item, unique=True)
