"""Chats, which responses are turns of one, and links to read one with."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "chats",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.Column("title", sa.String(256), nullable=False),
        sa.Column("folder", sa.String(256), nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("head", sa.String(64)),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("expires", sa.Float),
    )
    op.create_index("ix_chats_expires", "chats", ["expires"])
    op.create_table(
        "chat_shares",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("chat", sa.String(64), nullable=False),
        sa.Column("turn", sa.String(64), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_index("ix_chat_shares_chat", "chat_shares", ["chat"])
    op.create_index("chats_in_order", "chats", ["project", "owner", "updated", "id"])
    op.add_column("responses", sa.Column("chat", sa.String(64)))
    op.add_column("responses", sa.Column("words", sa.Text))
    op.create_index("ix_responses_chat", "responses", ["chat"])


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
