"""The tables as this version of the code sees them. A change here comes with a migration; a test compares the two.

Times are Unix seconds (UTC).
"""

from sqlalchemy import Column, Float, Index, MetaData, String, Table

__all__ = ["api_keys", "metadata"]

metadata = MetaData()

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("role", String(16), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the secret, in hex
    Column("prefix", String(16), nullable=False),  # the first characters of the secret, to tell keys apart
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("last_used", Float),
)

# A name may be used again once its key is revoked.
Index(
    "api_keys_one_active_name",
    api_keys.c.name,
    unique=True,
    sqlite_where=api_keys.c.revoked.is_(None),
    postgresql_where=api_keys.c.revoked.is_(None),
)
