"""Vector stores and what is in them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "vector_stores",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("creator", sa.String(128), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("active", sa.Float, nullable=False),
        sa.Column("expires_days", sa.Integer),
        sa.Column("expires", sa.Float),
        sa.Column("model", sa.String(320), nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_vector_stores_expires", "vector_stores", ["expires"])
    op.create_index("vector_stores_in_order", "vector_stores", ["project", "created", "id"])
    store = "vector_stores.id"
    op.create_table(
        "vector_store_batches",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("store", sa.String(64), sa.ForeignKey(store, ondelete="CASCADE"), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
    )
    op.create_index("ix_vector_store_batches_store", "vector_store_batches", ["store"])
    _files(store)
    op.create_table(
        "vector_store_chunks",
        sa.Column("entry", sa.String(64), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("begins", sa.BigInteger, nullable=False),
        sa.Column("ends", sa.BigInteger, nullable=False),
        sa.Column("page", sa.Integer),
        sa.Column("heading", sa.Text, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("vectors", sa.LargeBinary, nullable=False),
    )


def _files(store: str) -> None:
    op.create_table(
        "vector_store_files",
        sa.Column("entry", sa.String(64), primary_key=True),
        sa.Column("store", sa.String(64), sa.ForeignKey(store, ondelete="CASCADE"), nullable=False),
        sa.Column("file", sa.String(64), sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False),
        sa.Column("batch", sa.String(64)),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("max_tokens", sa.Integer, nullable=False),
        sa.Column("overlap", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    table = "vector_store_files"
    op.create_index("ix_vector_store_files_file", table, ["file"])
    op.create_index("ix_vector_store_files_batch", table, ["batch"])
    op.create_index("vector_store_files_once", table, ["store", "file"], unique=True)
    op.create_index("vector_store_files_in_order", table, ["store", "status", "created", "entry"])
    op.create_index("vector_store_files_to_find", table, ["store", "status", "revision"])
    op.create_index("vector_store_files_to_do", table, ["job", "status", "place"])


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
