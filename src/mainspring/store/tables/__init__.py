"""The tables as this version of the code sees them. A change here comes with a migration; a test compares the two.

Times are Unix seconds (UTC).
"""

from mainspring.store.tables.base import metadata
from mainspring.store.tables.batches import batch_requests
from mainspring.store.tables.chats import chat_changes, chat_shares, chats
from mainspring.store.tables.containers import container_files, containers
from mainspring.store.tables.evals import eval_items, eval_sources, evals, stored_chats
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
    service_accounts,
    usage_hours,
    wanted,
)
from mainspring.store.tables.presets import personal_instructions, presets
from mainspring.store.tables.receipts import response_traces
from mainspring.store.tables.responses import (
    conversation_items,
    conversations,
    response_events,
    response_items,
    responses,
)
from mainspring.store.tables.sessions import sessions
from mainspring.store.tables.uploads import upload_parts, uploads
from mainspring.store.tables.vector_stores import (
    vector_store_batches,
    vector_store_chunks,
    vector_store_files,
    vector_stores,
)
from mainspring.store.tables.webhooks import outbox, webhook_attempts, webhook_deliveries, webhook_endpoints
from mainspring.store.tables.work import checkpoint_permissions, files, job_checkpoints, job_events, jobs, unused_blobs

__all__ = [
    "allowances",
    "api_keys",
    "audit",
    "batch_requests",
    "blocklist_items",
    "blocklists",
    "capacities",
    "chat_changes",
    "chat_shares",
    "chats",
    "checkpoint_permissions",
    "container_files",
    "containers",
    "conversation_items",
    "conversations",
    "deployments",
    "eval_items",
    "eval_sources",
    "evals",
    "files",
    "job_checkpoints",
    "job_events",
    "jobs",
    "metadata",
    "outbox",
    "personal_instructions",
    "policies",
    "presets",
    "projects",
    "requests",
    "response_events",
    "response_items",
    "response_traces",
    "responses",
    "service_accounts",
    "sessions",
    "stored_chats",
    "unused_blobs",
    "upload_parts",
    "uploads",
    "usage_hours",
    "vector_store_batches",
    "vector_store_chunks",
    "vector_store_files",
    "vector_stores",
    "wanted",
    "webhook_attempts",
    "webhook_deliveries",
    "webhook_endpoints",
]
