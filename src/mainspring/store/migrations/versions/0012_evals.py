"""Chats that were stored, evaluations, and what their runs look at."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "stored_chats",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("messages", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
    )
    op.create_index("ix_stored_chats_expires", "stored_chats", ["expires"])
    op.create_index("stored_chats_in_order", "stored_chats", ["project", "created", "id"])
    op.create_table(
        "evals",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.Column("labels", sa.Text),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("criteria", sa.Text, nullable=False),
    )
    op.create_index("evals_in_order", "evals", ["project", "created", "id"])
    op.create_index("evals_by_update", "evals", ["project", "updated", "id"])
    op.create_table(
        "eval_sources",
        sa.Column("run", sa.String(64), primary_key=True),
        sa.Column("eval", sa.String(64), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
    )
    op.create_index("ix_eval_sources_eval", "eval_sources", ["eval"])
    op.create_table(
        "eval_items",
        sa.Column("run", sa.String(64), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("created", sa.Float),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
    )
    op.create_index("eval_items_in_order", "eval_items", ["run", "created", "place"])
    op.create_index("eval_items_once", "eval_items", ["id"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
