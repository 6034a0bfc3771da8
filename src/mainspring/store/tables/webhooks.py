"""Events that somebody may want to hear of, who does, and how it went to tell them."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["outbox", "webhook_attempts", "webhook_deliveries", "webhook_endpoints"]

# What has happened, written in the transaction in which it did: see store/outbox.py.
outbox = Table(
    "outbox",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("type", String(64), nullable=False),  # OpenAI's word, such as batch.completed
    Column("object", String(64), nullable=False),  # the id of what it happened to
    Column("created", Float, nullable=False),
)

Index("outbox_in_order", outbox.c.created, outbox.c.id)
Index("outbox_of_project", outbox.c.project, outbox.c.created)

# Who wants to hear. The secret is in none of the columns: see webhooks/signing.py.
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(256), nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", Text, nullable=False),  # a list, as JSON
    Column("enabled", Boolean, nullable=False),
    Column("generation", Integer, nullable=False),  # of the secret: how often it was rotated
    Column("digest", String(64), nullable=False),  # SHA-256 of the secret, in hex
    Column("hint", String(16), nullable=False),  # its last characters
    Column("old_until", Float, nullable=False),  # when the secret before it ends; 0 if it has
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
)

Index("webhook_endpoints_in_order", webhook_endpoints.c.project, webhook_endpoints.c.created, webhook_endpoints.c.id)

# An event that is to be told to an endpoint. Its id is what the endpoint can tell by that it was told twice.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("event", String(64), ForeignKey("outbox.id"), nullable=False),
    Column("endpoint", String(64), ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("status", String(16), nullable=False),  # pending, delivered or failed
    Column("created", Float, nullable=False),
    Column("since", Float, nullable=False),  # when it was first to be sent, or was last replayed
    Column("due", Float, nullable=False),  # nobody sends it earlier
    Column("tries", Integer, nullable=False),  # since then
    Column("attempts", Integer, nullable=False),  # of all times
    Column("lease", BigInteger, nullable=False),  # the number of the claim, higher than all before it
    Column("until", Float, nullable=False),  # when whoever sends it now has lost it; 0 if nobody does
    Column("finished", Float),
)

Index("webhook_deliveries_once", webhook_deliveries.c.event, webhook_deliveries.c.endpoint, unique=True)
Index("webhook_deliveries_due", webhook_deliveries.c.status, webhook_deliveries.c.endpoint, webhook_deliveries.c.due)
Index("webhook_deliveries_held", webhook_deliveries.c.until)
Index("webhook_deliveries_ended", webhook_deliveries.c.finished)
Index(
    "webhook_deliveries_in_order",
    webhook_deliveries.c.endpoint,
    webhook_deliveries.c.created,
    webhook_deliveries.c.id,
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery", String(64), ForeignKey("webhook_deliveries.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1
    Column("started", Float, nullable=False),
    Column("duration_s", Float),  # null while it runs
    Column("status_code", Integer),  # null if there was no answer
    Column("error", Text),
)
