"""Saved assistants, and what people want all of their chats to know."""

from sqlalchemy import Boolean, Column, Float, Index, PrimaryKeyConstraint, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["personal_instructions", "presets"]

# See store/presets.py.
presets = Table(
    "presets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("owner", String(256), nullable=False),  # a principal's `person`
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("name", String(256), nullable=False),
    Column("description", Text, nullable=False),
    Column("icon", String(64), nullable=False),
    Column("instructions", Text, nullable=False),
    Column("settings", Text, nullable=False),  # JSON: the model and its parameters
    Column("vector_store", String(64)),  # of its files; no foreign key: a store may go without its presets
    Column("starters", Text, nullable=False),  # a JSON list
    Column("shared", Boolean, nullable=False),  # whether the project reads it
)

Index("presets_in_order", presets.c.project, presets.c.created, presets.c.id)

# See store/personal.py.
personal_instructions = Table(
    "personal_instructions",
    metadata,
    Column("project", String(64), nullable=False),
    Column("owner", String(256), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("about", Text, nullable=False),
    Column("style", Text, nullable=False),
    Column("in_temporary", Boolean, nullable=False),
    Column("updated", Float, nullable=False),
    PrimaryKeyConstraint("project", "owner"),
)
