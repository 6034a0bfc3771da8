"""Everything that is kept for a project, removed when the project is."""

from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.chats import remove_all_chats
from mainspring.store.containers import remove_all_containers
from mainspring.store.conversations import remove_conversations
from mainspring.store.evals import remove_all as remove_evals
from mainspring.store.files import remove_all
from mainspring.store.jobs import cancel_all
from mainspring.store.outbox import remove_endpoints
from mainspring.store.personal import remove_all_personal
from mainspring.store.presets import remove_all_presets
from mainspring.store.responses import remove_all as remove_responses
from mainspring.store.service_accounts import remove_accounts
from mainspring.store.stored_chats import remove_chats
from mainspring.store.vector_stores import remove_all_stores

__all__ = ["empty"]


async def empty(connection: AsyncConnection, project: str, now_s: float) -> None:
    """Remove it, in the transaction that deletes the project. Jobs are cancelled."""
    await remove_all(connection, project)
    await remove_evals(connection, project)
    await remove_chats(connection, project)
    await remove_all_stores(connection, project)
    await remove_all_containers(connection, project)
    await cancel_all(connection, project, now_s)
    await remove_endpoints(connection, project)
    await remove_responses(connection, project)
    await remove_all_chats(connection, project)
    await remove_all_presets(connection, project)
    await remove_all_personal(connection, project)
    await remove_conversations(connection, project)
    await remove_accounts(connection, project)
