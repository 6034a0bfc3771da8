"""Containers of the code interpreter: files that stay between runs of code. See store/containers.py."""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["container_files", "containers"]

containers = Table(
    "containers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("creator", String(128), nullable=False),  # the id of the key, or of the token's user
    Column("name", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("active", Float, nullable=False),  # when it was last used
    Column("minutes", Integer, nullable=False),  # that it lives after that
    Column("expires", Float, nullable=False, index=True),  # both together, so that it can be looked for
    Column("memory", String(8), nullable=False),  # the limit, in OpenAI's words
)

Index("containers_in_order", containers.c.project, containers.c.created, containers.c.id)

container_files = Table(
    "container_files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("container", String(64), ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
    Column("path", String(512), nullable=False),  # below the folder that code starts in
    Column("created", Float, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("source", String(16), nullable=False),  # user, assistant; or session: what code remembers, never shown
    Column("content", LargeBinary, nullable=False),
)

Index("container_files_by_path", container_files.c.container, container_files.c.path, unique=True)
