"""Who may what, and what was used."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from mainspring.store.tables.base import metadata

__all__ = [
    "allowances",
    "api_keys",
    "audit",
    "blocklist_items",
    "blocklists",
    "capacities",
    "deployments",
    "policies",
    "projects",
    "requests",
    "service_accounts",
    "usage_hours",
    "wanted",
]

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
    Column("project", String(64), nullable=False, server_default="default", index=True),
    Column("owner", String(256), nullable=False, server_default=""),  # the person it was made for
    Column("deployments", Text, nullable=False, server_default="[]"),  # the only ones it is for, as JSON; [] means all
    Column("slot", String(4), nullable=False, server_default=""),  # key1 or key2 of a project
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
    Column("project", String(64), nullable=False, server_default="default"),
    Column("filtered", String(16), nullable=False, server_default=""),  # prompt or completion, if one was blocked
    Column("hits", Text, nullable=False, server_default=""),  # what the content filters found, as JSON
    Column("spilled_from", String(256), nullable=False, server_default=""),  # the deployment that could not take it
)

# Their sums by the hour: what budgets and reports read, so that neither slows down as rows pile up.
usage_hours = Table(
    "usage_hours",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # when it started
    Column("project", String(64), primary_key=True),
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

# What is wanted: see governance/projects.py. A project is what Azure calls an account.
projects = Table(
    "projects",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("resource_group", String(90), nullable=False),
    Column("location", String(64), nullable=False),
    Column("tags", Text, nullable=False),  # JSON
    Column("limits", Text, nullable=False),  # core.types.Limits as JSON
    Column("generation1", Integer, nullable=False),  # how often key1 was regenerated
    Column("generation2", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("title", String(256), nullable=False, server_default=""),  # for people; empty is the name
    Column("archived", Float),
)

# Programs that keys are made for: such a key's `owner` is the id of one.
service_accounts = Table(
    "service_accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("role", String(16), nullable=False),  # of its keys; empty: it has none
    Column("created", Float, nullable=False),
)
Index("service_accounts_in_order", service_accounts.c.project, service_accounts.c.created, service_accounts.c.id)

deployments = Table(
    "deployments",
    metadata,
    Column("project", String(64), ForeignKey("projects.name"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("model", String(256), nullable=False),  # its name in the catalog
    Column("version", String(64), nullable=False),
    Column("sku", String(32), nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("policy", String(100), nullable=False),
    Column("upgrade", String(40), nullable=False),
    Column("spillover", String(64), nullable=False),
    Column("dynamic", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
    Column("expires", Float),
)

policies = Table(
    "policies",
    metadata,
    Column("project", String(64), ForeignKey("projects.name"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("body", Text, nullable=False),  # JSON
    Column("updated", Float, nullable=False),
)

blocklists = Table(
    "blocklists",
    metadata,
    Column("project", String(64), ForeignKey("projects.name"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("description", Text, nullable=False),
    Column("updated", Float, nullable=False),
)

blocklist_items = Table(
    "blocklist_items",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("blocklist", String(100), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("pattern", Text, nullable=False),
    Column("is_regex", Boolean, nullable=False),
    Column("updated", Float, nullable=False),
    ForeignKeyConstraint(["project", "blocklist"], ["blocklists.project", "blocklists.name"]),
)

# How many units of a model all projects together may deploy, where that is not what the settings say.
capacities = Table(
    "capacities",
    metadata,
    Column("sku", String(32), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("units", Integer, nullable=False),
)

# One row: counted up with every change of what is wanted, so that servers notice by reading one number.
wanted = Table(
    "wanted",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)

# What of a limit is used or leased by some server, for a window or, with the period "bucket", for a bucket: see
# governance/allowance.py. A row is of no use once its window has ended.
allowances = Table(
    "allowances",
    metadata,
    Column("subject", String(256), primary_key=True),
    Column("what", String(8), primary_key=True),  # requests, tokens or cost
    Column("period", String(16), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),  # by requests that have ended; of a bucket: when it is empty, in us
    Column("held", BigInteger, nullable=False),  # leased in the newest term
    Column("held_before", BigInteger, nullable=False),  # leased in the term before it
    Column("term", BigInteger, nullable=False),  # the newest term, in minutes since 1970
)
