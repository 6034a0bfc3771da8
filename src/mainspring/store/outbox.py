"""What has happened that webhooks tell: written down in the transaction in which it does, with whom to tell it, so that
nothing that has happened goes untold and nothing is told that has not. `webhooks/` does the telling."""

import secrets
from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.tables import outbox, webhook_attempts, webhook_deliveries, webhook_endpoints

__all__ = ["announce", "new_delivery", "remove_endpoints"]


async def announce(connection: AsyncConnection, *, project: str, type: str, object: str, now_s: float) -> None:  # noqa: A002 - the event's own words
    """Note an event of OpenAI's, such as ("batch.completed", "batch_abc"), in a transaction of `Database.write`.

    Costs one look-up, and writes nothing, where the project has no endpoint. Endpoints that are disabled are not told,
    but the event is kept, for a replay.
    """
    c = webhook_endpoints.c
    query = select(c.id, c.event_types, c.enabled).where(c.project == project)
    endpoints = (await connection.execute(query)).all()
    if not endpoints:
        return
    event = f"evt_{secrets.token_hex(16)}"
    row = {"id": event, "project": project, "type": type, "object": object, "created": now_s}
    await connection.execute(insert(outbox).values(row))
    for each in endpoints:
        if each.enabled and type in msgspec.json.decode(each.event_types, type=list[str]):
            await new_delivery(connection, event=event, endpoint=each.id, now_s=now_s)


async def new_delivery(connection: AsyncConnection, *, event: str, endpoint: str, now_s: float) -> None:
    """That an event is to be told to an endpoint, which it never was so far."""
    row = {
        "id": f"wh_{secrets.token_hex(16)}", "event": event, "endpoint": endpoint, "status": "pending",
        "created": now_s, "since": now_s, "due": now_s, "tries": 0, "attempts": 0, "lease": 0, "until": 0.0,
        "finished": None,
    }  # fmt: skip
    await connection.execute(insert(webhook_deliveries).values(row))


async def remove_endpoints(connection: AsyncConnection, project: str, ids: Sequence[str] | None = None) -> int:
    """Delete endpoints of a project and what was or is to be told to them; how many there were.

    Args:
        ids: which; None is all, with the project's events.
    """
    which = [webhook_endpoints.c.project == project]
    if ids is not None:
        which.append(webhook_endpoints.c.id.in_(ids))
    theirs = select(webhook_endpoints.c.id).where(*which)
    deliveries = select(webhook_deliveries.c.id).where(webhook_deliveries.c.endpoint.in_(theirs))
    await connection.execute(delete(webhook_attempts).where(webhook_attempts.c.delivery.in_(deliveries)))
    await connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.endpoint.in_(theirs)))
    gone = await connection.execute(delete(webhook_endpoints).where(*which))
    if ids is None:
        await connection.execute(delete(outbox).where(outbox.c.project == project))
    return gone.rowcount
