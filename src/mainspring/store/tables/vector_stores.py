"""Vector stores. What is in these rows is the truth; each server makes its index of it, see retrieval/embedded.py."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["vector_store_batches", "vector_store_chunks", "vector_store_files", "vector_stores"]

vector_stores = Table(
    "vector_stores",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("creator", String(128), nullable=False),  # the id of the key, or of the token's user
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("metadata", Text, nullable=False),  # JSON
    Column("created", Float, nullable=False),
    Column("active", Float, nullable=False),  # when it was last searched or added to
    Column("expires_days", Integer),  # after `active`; none means never
    Column("expires", Float, index=True),  # `active` and those days, so that it can be looked for
    Column("model", String(320), nullable=False),  # what its vectors were made with, name@version; empty: it has none
    Column("dimensions", Integer, nullable=False),  # of those vectors
    Column("revision", BigInteger, nullable=False),  # counts what has changed of what can be found
)

Index("vector_stores_in_order", vector_stores.c.project, vector_stores.c.created, vector_stores.c.id)

vector_store_batches = Table(
    "vector_store_batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("store", String(64), ForeignKey("vector_stores.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("cancelled", Boolean, nullable=False),
)

# A file in a store, or on its way there. It goes with its store and with its file, whoever deletes that.
vector_store_files = Table(
    "vector_store_files",
    metadata,
    Column("entry", String(64), primary_key=True),  # of this time that the file was put into the store
    Column("store", String(64), ForeignKey("vector_stores.id", ondelete="CASCADE"), nullable=False),
    Column("file", String(64), ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("batch", String(64), index=True),
    Column("job", String(64), nullable=False),  # which puts it there
    Column("place", Integer, nullable=False),  # among the files of that job
    Column("created", Float, nullable=False),
    Column("status", String(16), nullable=False),
    Column("error", Text),  # JSON: code and message
    Column("attributes", Text, nullable=False),  # JSON
    Column("max_tokens", Integer, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # of what is kept of it here
    Column("revision", BigInteger, nullable=False),  # the store's when it was last changed; see there
)

Index("vector_store_files_once", vector_store_files.c.store, vector_store_files.c.file, unique=True)
Index(
    "vector_store_files_in_order",
    vector_store_files.c.store,
    vector_store_files.c.status,
    vector_store_files.c.created,
    vector_store_files.c.entry,
)
# Covers what is asked before each search: whether anything has changed.
Index(
    "vector_store_files_to_find",
    vector_store_files.c.store,
    vector_store_files.c.status,
    vector_store_files.c.revision,
)
Index("vector_store_files_to_do", vector_store_files.c.job, vector_store_files.c.status, vector_store_files.c.place)

# Rows outlive their entry until a sweep removes them: there may be many, and the database has one writer.
vector_store_chunks = Table(
    "vector_store_chunks",
    metadata,
    Column("entry", String(64), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("begins", BigInteger, nullable=False),  # in the document's text, in characters
    Column("ends", BigInteger, nullable=False),
    Column("page", Integer),
    Column("heading", Text, nullable=False),  # JSON
    Column("tokens", Integer, nullable=False),
    Column("vectors", LargeBinary, nullable=False),  # float16, one or more after the other; empty if it has none
)
