"""Rows of service accounts that go with their project."""

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.tables import service_accounts

__all__ = ["remove_accounts"]


async def remove_accounts(connection: AsyncConnection, project: str) -> None:
    """Delete the service accounts of a project; its keys are the business of whoever deletes it."""
    await connection.execute(delete(service_accounts).where(service_accounts.c.project == project))
