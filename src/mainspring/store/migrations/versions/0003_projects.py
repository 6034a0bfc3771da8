"""Projects with their deployments, policies and blocklists; whose a key is; what a request was filtered for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SUMS = ("requests", "prompt", "cached", "completion", "cost")
OLD_KEY = ("hour", "key", "deployment", "operation", "tier")


def upgrade() -> None:
    _keys()
    _wanted()
    op.add_column("requests", sa.Column("project", sa.String(64), nullable=False, server_default="default"))
    op.add_column("requests", sa.Column("filtered", sa.String(16), nullable=False, server_default=""))
    op.add_column("requests", sa.Column("hits", sa.Text, nullable=False, server_default=""))
    op.add_column("requests", sa.Column("spilled_from", sa.String(256), nullable=False, server_default=""))
    _usage_hours()


def _keys() -> None:
    op.add_column("api_keys", sa.Column("project", sa.String(64), nullable=False, server_default="default"))
    op.add_column("api_keys", sa.Column("owner", sa.String(256), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("deployments", sa.Text, nullable=False, server_default="[]"))
    op.add_column("api_keys", sa.Column("slot", sa.String(4), nullable=False, server_default=""))
    op.create_index("ix_api_keys_project", "api_keys", ["project"])


def _wanted() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("resource_group", sa.String(90), nullable=False),
        sa.Column("location", sa.String(64), nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("generation1", sa.Integer, nullable=False),
        sa.Column("generation2", sa.Integer, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_table(
        "deployments",
        sa.Column("project", sa.String(64), sa.ForeignKey("projects.name"), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("sku", sa.String(32), nullable=False),
        sa.Column("capacity", sa.Integer, nullable=False),
        sa.Column("policy", sa.String(100), nullable=False),
        sa.Column("upgrade", sa.String(40), nullable=False),
        sa.Column("spillover", sa.String(64), nullable=False),
        sa.Column("dynamic", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
    )
    op.create_table(
        "policies",
        sa.Column("project", sa.String(64), sa.ForeignKey("projects.name"), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_table(
        "blocklists",
        sa.Column("project", sa.String(64), sa.ForeignKey("projects.name"), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
    )
    op.create_table(
        "blocklist_items",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("blocklist", sa.String(100), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("pattern", sa.Text, nullable=False),
        sa.Column("is_regex", sa.Boolean, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(["project", "blocklist"], ["blocklists.project", "blocklists.name"]),
    )
    op.create_table(
        "capacities",
        sa.Column("sku", sa.String(32), primary_key=True),
        sa.Column("model", sa.String(256), primary_key=True),
        sa.Column("units", sa.Integer, nullable=False),
    )
    wanted = op.create_table(
        "wanted",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(wanted, [{"id": 1, "revision": 0}])


def _usage_hours() -> None:
    """The project becomes a part of the primary key, which SQLite can only do in a new table."""
    op.create_table(
        "usage_hours_new",
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("deployment", sa.String(256), primary_key=True),
        sa.Column("operation", sa.String(16), primary_key=True),
        sa.Column("tier", sa.String(16), primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in SUMS),
    )
    names = ", ".join((*OLD_KEY, *SUMS))
    op.execute(f"INSERT INTO usage_hours_new (project, {names}) SELECT 'default', {names} FROM usage_hours")  # noqa: S608
    op.drop_table("usage_hours")
    op.rename_table("usage_hours_new", "usage_hours")


def downgrade() -> None:
    raise NotImplementedError("A backup from before the upgrade is the way back: docs/OPERATIONS.md.")
