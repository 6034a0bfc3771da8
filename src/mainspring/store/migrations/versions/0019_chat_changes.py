"""Which chats have changed, in the order in which they did."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "chat_changes",
        sa.Column("chat", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("cut", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_chat_changes_number", "chat_changes", ["number"])
    op.create_index("chat_changes_of_owner", "chat_changes", ["project", "owner", "number"])


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
