"""The tables as this version of the code sees them. A change here comes with a migration; a test compares the two.

Times are Unix seconds (UTC).
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, String, Table, Text

__all__ = ["api_keys", "audit", "metadata", "requests", "usage_hours"]

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
    Column("limits", Text, nullable=False, server_default="{}"),  # core.types.Limits as JSON
)

# A name may be used again once its key is revoked.
Index(
    "api_keys_one_active_name",
    api_keys.c.name,
    unique=True,
    sqlite_where=api_keys.c.revoked.is_(None),
    postgresql_where=api_keys.c.revoked.is_(None),
)

# One row for each request, never changed: see governance/ledger.py. Durations are milliseconds, costs millionths.
requests = Table(
    "requests",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("started", Float, nullable=False),
    Column("minute", BigInteger, nullable=False, index=True),  # the full minute that `started` lies in
    Column("key", String(64), nullable=False),
    Column("deployment", String(256), nullable=False),
    Column("version", String(64), nullable=False),
    Column("operation", String(16), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("prompt", Integer, nullable=False),
    Column("cached", Integer, nullable=False),
    Column("completion", Integer, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("first_ms", Float, nullable=False),
    Column("total_ms", Float, nullable=False),
)

# Their sums by the hour: what budgets and reports read, so that neither slows down as rows pile up.
usage_hours = Table(
    "usage_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # when it started
    Column("key", String(64), primary_key=True),
    Column("deployment", String(256), primary_key=True),
    Column("operation", String(16), primary_key=True),
    Column("tier", String(16), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("completion", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
)

# Changes, each bound to those before it: see governance/audit.py.
audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Float, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(256), nullable=False),
    Column("detail", Text, nullable=False),
    Column("hash", String(64), nullable=False),
)
