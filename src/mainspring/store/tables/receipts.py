"""How responses were made, beside what they say."""

from sqlalchemy import BigInteger, Column, ForeignKey, LargeBinary, String, Table

from mainspring.store.tables.base import metadata

__all__ = ["response_traces"]

# See store/receipts.py. Number 0 is how it ended; the generations follow.
response_traces = Table(
    "response_traces",
    metadata,
    Column("response", String(64), ForeignKey("responses.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),  # compressed
)
