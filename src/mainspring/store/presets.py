"""Presets: what a chat may begin with, as somebody has saved it. The pages call them assistants.

A preset is its owner's; one that is shared is read by the whole project, and changed by its owner alone. Functions take
a connection, as those of `store/responses.py`.
"""

from typing import Any

import msgspec
from sqlalchemy import RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import NotFound
from mainspring.store.tables import presets

__all__ = [
    "Preset",
    "add_preset",
    "change_preset",
    "count_presets",
    "find_preset",
    "holder_of",
    "list_presets",
    "own_presets",
    "remove_all_presets",
    "remove_preset",
]

Json = dict[str, Any]
_JSON = ("settings", "starters")


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A preset. Times are Unix seconds.

    Args:
        owner: a principal's `person`: nobody else changes it.
        icon: an emoji or a letter; empty leaves that to whoever shows it.
        settings: the model and its parameters.
        vector_store: where the files are that answers are looked for in.
        starters: what a chat may be begun with.
        shared: whether everybody in the project sees it.
    """

    id: str
    project: str
    owner: str
    created: float
    updated: float
    name: str
    description: str = ""
    icon: str = ""
    instructions: str = ""
    settings: Json = {}
    vector_store: str | None = None
    starters: list[str] = []
    shared: bool = False


def _columns(preset: Preset) -> Json:
    row = msgspec.structs.asdict(preset)
    return row | {name: msgspec.json.encode(row[name]).decode() for name in _JSON}


def _preset(row: RowMapping) -> Preset:
    return Preset(**{**row, **{name: msgspec.json.decode(row[name]) for name in _JSON}})


async def add_preset(connection: AsyncConnection, preset: Preset) -> None:
    """Keep a new one."""
    await connection.execute(insert(presets).values(_columns(preset)))


async def change_preset(connection: AsyncConnection, preset: Preset) -> None:
    """Keep what it is now."""
    await connection.execute(update(presets).where(presets.c.id == preset.id).values(_columns(preset)))


async def find_preset(connection: AsyncConnection, project: str, owner: str, id: str) -> Preset:  # noqa: A002
    """One that somebody sees: their own, or one that is shared.

    Raises:
        NotFound: they see none of that id.
    """
    c = presets.c
    query = select(presets).where(c.id == id, c.project == project, or_(c.owner == owner, c.shared))
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"Preset with id '{id[:100]}' not found.", param="preset_id")
    return _preset(row)


async def list_presets(
    connection: AsyncConnection, project: str, owner: str, *, after: str | None, limit: int
) -> tuple[list[Preset], bool]:
    """A page of those that somebody sees, the newest first, and whether there is more.

    Raises:
        NotFound: `after` is none of them.
    """
    c = presets.c
    query = select(presets).where(c.project == project, or_(c.owner == owner, c.shared))
    if after is not None:
        last = await find_preset(connection, project, owner, after)
        query = query.where(or_(c.created < last.created, and_(c.created == last.created, c.id < last.id)))
    rows = (await connection.execute(query.order_by(c.created.desc(), c.id.desc()).limit(limit + 1))).mappings().all()
    return [_preset(row) for row in rows[:limit]], len(rows) > limit


async def own_presets(connection: AsyncConnection, project: str, owner: str) -> list[Preset]:
    """All of somebody's own, oldest first."""
    c = presets.c
    query = select(presets).where(c.project == project, c.owner == owner).order_by(c.created, c.id)
    return [_preset(row) for row in (await connection.execute(query)).mappings()]


async def count_presets(connection: AsyncConnection, project: str, owner: str) -> int:
    """How many somebody has."""
    query = select(func.count()).where(presets.c.project == project, presets.c.owner == owner)
    return (await connection.execute(query)).scalar_one()


async def holder_of(connection: AsyncConnection, id: str) -> tuple[str, str] | None:  # noqa: A002
    """The project and the owner of the one with an id, whoever asks; None if the id is free."""
    row = (await connection.execute(select(presets.c.project, presets.c.owner).where(presets.c.id == id))).one_or_none()
    return None if row is None else (row.project, row.owner)


async def remove_preset(connection: AsyncConnection, id: str) -> None:  # noqa: A002
    """Forget one."""
    await connection.execute(delete(presets).where(presets.c.id == id))


async def remove_all_presets(connection: AsyncConnection, project: str) -> None:
    """Forget all of a project."""
    await connection.execute(delete(presets).where(presets.c.project == project))
