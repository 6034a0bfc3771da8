"""Requests of batches, for as long as their batch is open."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, LargeBinary, String, Table

from mainspring.store.tables.base import metadata

__all__ = ["batch_requests"]

# A row for each line of a batch's input, and what became of it: see store/batches.py.
batch_requests = Table(
    "batch_requests",
    metadata,
    Column("batch", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),  # of the input file, from 1
    Column("custom_id", LargeBinary, nullable=False),  # as JSON: a text may hold what PostgreSQL keeps in no text
    Column("rank", BigInteger, nullable=False),  # when its turn is
    Column("start", BigInteger, nullable=False),  # where the line is in the file, in bytes
    Column("length", BigInteger, nullable=False),
    Column("failed", Boolean, nullable=False),  # its result belongs into the error file
    Column("result", LargeBinary),  # a line of an output file, compressed; null until there is one
)
