"""What people want every chat of theirs to know: one row for each person in each project."""

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.store.tables import personal_instructions as table

__all__ = ["Personal", "keep_personal", "personal_of", "remove_all_personal"]


class Personal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody's own instructions.

    Args:
        enabled: whether they count.
        about: what answers should know about the person.
        style: how answers should be.
        in_temporary: whether they count in temporary chats, too.
        updated: Unix seconds; None if nothing was ever said.
    """

    enabled: bool = False
    about: str = ""
    style: str = ""
    in_temporary: bool = False
    updated: float | None = None


async def personal_of(connection: AsyncConnection, project: str, owner: str) -> Personal:
    """Somebody's; as if nothing had been said, if nothing was."""
    query = select(*(table.c[name] for name in Personal.__struct_fields__))
    query = query.where(table.c.project == project, table.c.owner == owner)
    row = (await connection.execute(query)).mappings().one_or_none()
    return Personal() if row is None else Personal(**row)


async def keep_personal(connection: AsyncConnection, project: str, owner: str, personal: Personal) -> None:
    """Have these in the place of what was there."""
    await connection.execute(delete(table).where(table.c.project == project, table.c.owner == owner))
    await connection.execute(insert(table).values(project=project, owner=owner, **msgspec.structs.asdict(personal)))


async def remove_all_personal(connection: AsyncConnection, project: str) -> None:
    """Forget those of everybody in a project."""
    await connection.execute(delete(table).where(table.c.project == project))
