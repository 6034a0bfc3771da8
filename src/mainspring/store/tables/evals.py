"""Chats that were stored, evaluations, and what their runs look at. Runs themselves are jobs."""

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["eval_items", "eval_sources", "evals", "stored_chats"]

# Answers to chats that asked for it: see store/stored_chats.py.
stored_chats = Table(
    "stored_chats",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("model", String(256), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, index=True),
    Column("creator", String(128), nullable=False),  # the id of the key, or of the token's user
    Column("labels", Text, nullable=False),  # the client's metadata as JSON
    Column("messages", Text, nullable=False),  # what was asked, as JSON
    Column("answer", Text, nullable=False),  # the chat completion as JSON
)

Index("stored_chats_in_order", stored_chats.c.project, stored_chats.c.created, stored_chats.c.id)

# Evaluations: see store/evals.py. What the JSON says is `evals`' business.
evals = Table(
    "evals",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("creator", String(128), nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("labels", Text),
    Column("config", Text, nullable=False),  # what its items look like
    Column("criteria", Text, nullable=False),  # its graders
)

Index("evals_in_order", evals.c.project, evals.c.created, evals.c.id)
Index("evals_by_update", evals.c.project, evals.c.updated, evals.c.id)

# Of each run, where its items come from, as it was sent: too large for the row of a job, which is read every second.
eval_sources = Table(
    "eval_sources",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("eval", String(64), nullable=False, index=True),
    Column("source", Text, nullable=False),
)

# The items of a run, with what came of each. One that nothing has come of yet has an empty status.
eval_items = Table(
    "eval_items",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False),
    Column("status", String(8), nullable=False),  # empty, pass, fail or error
    Column("created", Float),  # when something came of it
    Column("item", Text, nullable=False),
    Column("outcome", Text),
)

Index("eval_items_in_order", eval_items.c.run, eval_items.c.created, eval_items.c.place)
Index("eval_items_once", eval_items.c.id, unique=True)
