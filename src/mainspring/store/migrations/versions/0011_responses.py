"""Responses, their items and events, and conversations."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("background", sa.Boolean, nullable=False),
        sa.Column("streamed", sa.Boolean, nullable=False),
        sa.Column("previous", sa.String(64)),
        sa.Column("conversation", sa.String(64)),
        sa.Column("include", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("ix_responses_project", "responses", ["project"])
    op.create_index("ix_responses_expires", "responses", ["expires"])
    op.create_table(
        "response_items",
        sa.Column("response", sa.String(64), sa.ForeignKey("responses.id"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("is_output", sa.Boolean, nullable=False),
        sa.Column("item", sa.String(128), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("kept", sa.Text, nullable=False),
    )
    op.create_index("ix_response_items_item", "response_items", ["item"])
    op.create_table(
        "response_events",
        sa.Column("response", sa.String(64), sa.ForeignKey("responses.id"), primary_key=True),
        sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    _conversations()


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("busy", sa.String(64), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_index("ix_conversations_project", "conversations", ["project"])
    op.create_table(
        "conversation_items",
        sa.Column("conversation", sa.String(64), sa.ForeignKey("conversations.id"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("item", sa.String(128), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("kept", sa.Text, nullable=False),
    )
    op.create_index("conversation_items_by_id", "conversation_items", ["conversation", "item"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
