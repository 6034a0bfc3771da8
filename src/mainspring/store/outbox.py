"""What has happened that webhooks tell: written down in the transaction in which it does, so that nothing that has
happened goes untold and nothing is told that has not."""

import secrets

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.tables import outbox

__all__ = ["announce"]


async def announce(connection: AsyncConnection, *, project: str, type: str, object: str, now_s: float) -> None:  # noqa: A002 - the event's own words
    """Note an event of OpenAI's, such as ("batch.completed", "batch_abc"), in a transaction of `Database.write`."""
    row = {"id": f"evt_{secrets.token_hex(16)}", "project": project, "type": type, "object": object, "created": now_s}
    await connection.execute(insert(outbox).values(row))
