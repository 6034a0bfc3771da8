"""Files, and long work."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from mainspring.store.tables.base import metadata

__all__ = ["checkpoint_permissions", "files", "job_checkpoints", "job_events", "jobs", "unused_blobs"]

# What the API calls a file: a name for a blob, in a project. See store/files.py.
files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("filename", String(512), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),  # of its content, which is the blob of that name
    Column("created", Float, nullable=False),
    Column("expires", Float, index=True),
    Column("status", String(16), nullable=False),
    Column("creator", String(128), nullable=False),  # the id of the key, or of the token's user
)

Index("files_in_order", files.c.project, files.c.created, files.c.id)

# Blobs that no file refers to, or none may: written before a blob is made or the last reference goes, so that whatever
# happens in between, somebody looks at it again.
unused_blobs = Table(
    "unused_blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("since", Float, nullable=False),
)

# Long work: see store/leases.py for who may do it, store/jobs.py for what is kept of it. What a kind of job is asked to
# do and how far it is are JSON that only that kind reads.
jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("project", String(64), nullable=False),
    Column("creator", String(128), nullable=False),  # the id of the key, or of the token's user
    Column("priority", Integer, nullable=False),  # higher goes first
    Column("status", String(16), nullable=False),
    Column("wanted", String(8), nullable=False),  # run, pause, cancel or yield
    Column("spec", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("error", Text),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("not_before", Float, nullable=False),  # nobody takes it up earlier
    Column("attempts", Integer, nullable=False),  # how often it was taken up since it last got on or was given back
    Column("owner", String(64), nullable=False),  # who holds the lease, or held the last one
    Column("lease", BigInteger, nullable=False),  # its number: each claim's is higher than the one before
    Column("until", Float, nullable=False),  # when it ends; 0 if it was given back
)

Index("jobs_in_order", jobs.c.project, jobs.c.kind, jobs.c.created, jobs.c.id)
Index("jobs_to_do", jobs.c.kind, jobs.c.status)

job_events = Table(
    "job_events",
    metadata,
    Column("job", String(64), ForeignKey("jobs.id"), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("created", Float, nullable=False),
    Column("level", String(8), nullable=False),
    Column("type", String(16), nullable=False),  # message or metrics
    Column("message", Text, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Column("key", String(80)),  # what may be told again and is one event all the same
)

Index("job_events_told_once", job_events.c.job, job_events.c.key, unique=True)

job_checkpoints = Table(
    "job_checkpoints",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job", String(64), ForeignKey("jobs.id"), nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("name", String(320), nullable=False, index=True),  # what it answers to
    Column("version", String(320), nullable=False),  # in the catalog, as name@version; empty if it is not there
    Column("metrics", Text, nullable=False),  # JSON
    Column("created", Float, nullable=False),
)

Index("job_checkpoints_once", job_checkpoints.c.job, job_checkpoints.c.step, unique=True)

# Which other projects may use a checkpoint.
checkpoint_permissions = Table(
    "checkpoint_permissions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("checkpoint", String(320), nullable=False),  # its name
    Column("project", String(64), nullable=False),
    Column("created", Float, nullable=False),
)

Index(
    "checkpoint_permissions_once",
    checkpoint_permissions.c.checkpoint,
    checkpoint_permissions.c.project,
    unique=True,
)
