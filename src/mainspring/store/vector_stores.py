"""What others than `retrieval` do to vector stores."""

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.tables import vector_stores

__all__ = ["remove_all_stores"]


async def remove_all_stores(connection: AsyncConnection, project: str) -> None:
    """Delete a project's vector stores, in a transaction of `Database.write`; a sweep removes what is left of them."""
    await connection.execute(delete(vector_stores).where(vector_stores.c.project == project))
