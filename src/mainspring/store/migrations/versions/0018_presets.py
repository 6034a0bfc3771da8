"""Saved assistants, and instructions of people's own."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "presets",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("icon", sa.String(64), nullable=False),
        sa.Column("instructions", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("vector_store", sa.String(64)),
        sa.Column("starters", sa.Text, nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
    )
    op.create_index("presets_in_order", "presets", ["project", "created", "id"])
    op.create_table(
        "personal_instructions",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("style", sa.Text, nullable=False),
        sa.Column("in_temporary", sa.Boolean, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("project", "owner"),
    )


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
