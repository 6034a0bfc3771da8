"""Events that somebody may want to hear of, and who does."""

from sqlalchemy import Column, Float, Index, String, Table

from mainspring.store.tables.base import metadata

__all__ = ["outbox"]

# What has happened, written in the transaction in which it did: see store/outbox.py.
outbox = Table(
    "outbox",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("type", String(64), nullable=False),  # OpenAI's word, such as batch.completed
    Column("object", String(64), nullable=False),  # the id of what it happened to
    Column("created", Float, nullable=False),
)

Index("outbox_in_order", outbox.c.created, outbox.c.id)
