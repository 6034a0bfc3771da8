"""What of each limit the servers of one installation have used or leased."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "allowances",
        sa.Column("subject", sa.String(256), primary_key=True),
        sa.Column("what", sa.String(8), primary_key=True),
        sa.Column("period", sa.String(16), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("held_before", sa.BigInteger, nullable=False),
        sa.Column("term", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("allowances")
