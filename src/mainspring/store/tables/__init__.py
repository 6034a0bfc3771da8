"""The tables as this version of the code sees them. A change here comes with a migration; a test compares the two.

Times are Unix seconds (UTC).
"""

from mainspring.store.tables.base import metadata
from mainspring.store.tables.containers import container_files, containers
from mainspring.store.tables.governed import (
    allowances,
    api_keys,
    audit,
    blocklist_items,
    blocklists,
    capacities,
    deployments,
    policies,
    projects,
    requests,
    usage_hours,
    wanted,
)
from mainspring.store.tables.responses import (
    conversation_items,
    conversations,
    response_events,
    response_items,
    responses,
)
from mainspring.store.tables.vector_stores import (
    vector_store_batches,
    vector_store_chunks,
    vector_store_files,
    vector_stores,
)
from mainspring.store.tables.webhooks import outbox
from mainspring.store.tables.work import checkpoint_permissions, files, job_checkpoints, job_events, jobs, unused_blobs

__all__ = [
    "allowances",
    "api_keys",
    "audit",
    "blocklist_items",
    "blocklists",
    "capacities",
    "checkpoint_permissions",
    "container_files",
    "containers",
    "conversation_items",
    "conversations",
    "deployments",
    "files",
    "job_checkpoints",
    "job_events",
    "jobs",
    "metadata",
    "outbox",
    "policies",
    "projects",
    "requests",
    "response_events",
    "response_items",
    "responses",
    "unused_blobs",
    "usage_hours",
    "vector_store_batches",
    "vector_store_chunks",
    "vector_store_files",
    "vector_stores",
    "wanted",
]
