"""How responses were made."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "response_traces",
        sa.Column("response", sa.String(64), sa.ForeignKey("responses.id"), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
