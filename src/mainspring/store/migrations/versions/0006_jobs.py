"""Jobs that are leased, their events and checkpoints."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("wanted", sa.String(8), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("finished", sa.Float),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("lease", sa.BigInteger, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_index("jobs_in_order", "jobs", ["project", "kind", "created", "id"])
    op.create_index("jobs_to_do", "jobs", ["kind", "status"])
    op.create_table(
        "job_events",
        sa.Column("job", sa.String(64), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("key", sa.String(80)),
    )
    op.create_index("job_events_told_once", "job_events", ["job", "key"], unique=True)
    _checkpoints()


def _checkpoints() -> None:
    op.create_table(
        "job_checkpoints",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job", sa.String(64), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(320), nullable=False),
        sa.Column("version", sa.String(320), nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_index("ix_job_checkpoints_name", "job_checkpoints", ["name"])
    op.create_index("job_checkpoints_once", "job_checkpoints", ["job", "step"], unique=True)
    op.create_table(
        "checkpoint_permissions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("checkpoint", sa.String(320), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_index("checkpoint_permissions_once", "checkpoint_permissions", ["checkpoint", "project"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
