"""Chats: what their owner calls them. What was said in one is responses."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["chat_changes", "chat_shares", "chats"]

# See store/chats.py.
chats = Table(
    "chats",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("owner", String(256), nullable=False),  # a principal's `person`
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("title", String(256), nullable=False),
    Column("folder", String(256), nullable=False),
    Column("tags", Text, nullable=False),  # a JSON list
    Column("pinned", Boolean, nullable=False),
    Column("settings", Text, nullable=False),  # JSON that is the client's own
    Column("head", String(64)),  # the response that was looked at last
    Column("words", Text, nullable=False),  # title, folder and tags as a search compares them
    Column("expires", Float, index=True),  # of one that is to be forgotten by itself
)

Index("chats_in_order", chats.c.project, chats.c.owner, chats.c.updated, chats.c.id)

# The last change of each chat, of those that are gone too. See store/chat_changes.py.
chat_changes = Table(
    "chat_changes",
    metadata,
    Column("chat", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("number", BigInteger, nullable=False, index=True),
    Column("cut", BigInteger, nullable=False),  # the number of the last change that took turns away
)

Index("chat_changes_of_owner", chat_changes.c.project, chat_changes.c.owner, chat_changes.c.number)

# Who has such an id may read a chat up to a turn, signed in or not. See store/shares.py.
chat_shares = Table(
    "chat_shares",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("chat", String(64), nullable=False, index=True),
    Column("turn", String(64), nullable=False),
    Column("created", Float, nullable=False),
)
