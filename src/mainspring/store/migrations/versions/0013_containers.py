"""Containers of the code interpreter, and their files."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "containers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("active", sa.Float, nullable=False),
        sa.Column("minutes", sa.Integer, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
        sa.Column("memory", sa.String(8), nullable=False),
    )
    op.create_index("ix_containers_expires", "containers", ["expires"])
    op.create_index("containers_in_order", "containers", ["project", "created", "id"])
    op.create_table(
        "container_files",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("container", sa.String(64), sa.ForeignKey("containers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("path", sa.String(512), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("container_files_by_path", "container_files", ["container", "path"], unique=True)


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
