"""Events for webhooks, who hears of them, and how it went."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("object", sa.String(64), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_index("outbox_in_order", "outbox", ["created", "id"])
    op.create_index("outbox_of_project", "outbox", ["project", "created"])
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("event_types", sa.Text, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("old_until", sa.Float, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_index("webhook_endpoints_in_order", "webhook_endpoints", ["project", "created", "id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("event", sa.String(64), sa.ForeignKey("outbox.id"), nullable=False),
        sa.Column("endpoint", sa.String(64), sa.ForeignKey("webhook_endpoints.id"), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("due", sa.Float, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease", sa.BigInteger, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("finished", sa.Float),
    )
    op.create_index("webhook_deliveries_once", "webhook_deliveries", ["event", "endpoint"], unique=True)
    op.create_index("webhook_deliveries_due", "webhook_deliveries", ["status", "endpoint", "due"])
    op.create_index("webhook_deliveries_held", "webhook_deliveries", ["until"])
    op.create_index("webhook_deliveries_ended", "webhook_deliveries", ["finished"])
    op.create_index("webhook_deliveries_in_order", "webhook_deliveries", ["endpoint", "created", "id"])
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery", sa.String(64), sa.ForeignKey("webhook_deliveries.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("duration_s", sa.Float),
        sa.Column("status_code", sa.Integer),
        sa.Column("error", sa.Text),
    )


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
