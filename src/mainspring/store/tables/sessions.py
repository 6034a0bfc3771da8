"""Who is signed in with a browser. See governance/sessions.py."""

from sqlalchemy import Column, Float, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["sessions"]

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the secret, in hex
    Column("kind", String(8), nullable=False),  # key, oidc, or link: what one session can be opened with, once
    Column("subject", String(64), nullable=False, index=True),  # the principal's id: of a key, or of a token's subject
    Column("name", String(100), nullable=False),  # this and the next two are of oidc; a key is asked what it has now
    Column("project", String(64), nullable=False),
    Column("grants", Text, nullable=False),  # core.types.Grant, several, as JSON
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False, index=True),
)
