"""Files that arrive in parts."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table

from mainspring.store.tables.base import metadata

__all__ = ["upload_parts", "uploads"]

# A file that is to be: see store/uploads.py.
uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False, index=True),
    Column("purpose", String(32), nullable=False),
    Column("filename", String(512), nullable=False),
    Column("bytes", BigInteger, nullable=False),  # that were promised
    Column("mime_type", String(256), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
    Column("file_expires_s", Integer),  # of the file, once it is one
    Column("file", String(64)),  # that it has become
    Column("creator", String(128), nullable=False),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("upload", String(64), ForeignKey("uploads.id"), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),  # of its content, which is the blob of that name
    Column("created", Float, nullable=False),
)

Index("upload_parts_of", upload_parts.c.upload, upload_parts.c.sha256)
