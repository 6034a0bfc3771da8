"""Presets of people: what their chats may begin with. A chat that has begun does not depend on its preset any more:
what it needs of it is in its settings."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.errors import Forbidden, InvalidRequest
from mainspring.core.ids import new_id
from mainspring.store import presets as kept
from mainspring.store.db import Database
from mainspring.store.presets import Preset

__all__ = ["MAX_PRESETS", "Presets"]

MAX_PRESETS = 200
"""As many as somebody may have in a project."""


class Presets:
    """The presets of one installation.

    All methods that name one raise NotFound if `owner` (a principal's `person`) sees none of that id in the project.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create(self, project: str, owner: str, **fields: Any) -> Preset:
        """Save one: `fields` are those of `Preset` that its owner chooses.

        Raises:
            InvalidRequest: they have as many as they may.
        """
        now_s = self._clock.now()
        made = Preset(id=new_id("preset_"), project=project, owner=owner, created=now_s, updated=now_s, **fields)
        async with self._database.write() as connection:
            await _add(connection, made)
        return made

    async def get(self, project: str, owner: str, id: str) -> Preset:  # noqa: A002 - what the API calls it
        """One that they see."""
        async with self._database.read() as connection:
            return await kept.find_preset(connection, project, owner, id)

    async def list(self, project: str, owner: str, *, after: str | None, limit: int) -> tuple[list[Preset], bool]:
        """A page of those that they see, the newest first, and whether there is more."""
        async with self._database.read() as connection:
            return await kept.list_presets(connection, project, owner, after=after, limit=limit)

    async def update(self, project: str, owner: str, id: str, **fields: Any) -> Preset:  # noqa: A002
        """Change what its owner chooses.

        Raises:
            Forbidden: it is somebody else's, who has shared it.
        """
        async with self._database.write() as connection:
            found = await kept.find_preset(connection, project, owner, id)
            _check_owner(found, owner)
            changed = msgspec.structs.replace(found, **fields, updated=self._clock.now())
            await kept.change_preset(connection, changed)
        return changed

    async def remove(self, project: str, owner: str, id: str, *, moderates: bool = False) -> None:  # noqa: A002
        """Forget one.

        Args:
            moderates: whether they may remove what others have shared: somebody has to be able to.

        Raises:
            Forbidden: it is somebody else's, who has shared it.
        """
        async with self._database.write() as connection:
            found = await kept.find_preset(connection, project, owner, id)
            if not moderates:
                _check_owner(found, owner)
            await kept.remove_preset(connection, found.id)

    async def every(self, project: str, owner: str) -> Sequence[Preset]:
        """All of their own, oldest first."""
        async with self._database.read() as connection:
            return await kept.own_presets(connection, project, owner)

    async def take(self, given: Sequence[Preset]) -> "list[str]":
        """Keep presets that were made elsewhere, all of them or none; the ids of those that are new here. One that its
        owner has already stays as it is, and one whose id is somebody else's gets another.

        Raises:
            InvalidRequest: their owner would have more than they may.
        """
        taken: list[str] = []
        async with self._database.write() as connection:
            for preset in given:
                holder = await kept.holder_of(connection, preset.id)
                if holder == (preset.project, preset.owner):
                    continue
                made = preset if holder is None else msgspec.structs.replace(preset, id=new_id("preset_"))
                await _add(connection, made)
                taken.append(made.id)
        return taken


async def _add(connection: AsyncConnection, preset: Preset) -> None:
    if await kept.count_presets(connection, preset.project, preset.owner) >= MAX_PRESETS:
        raise InvalidRequest(f"You have {MAX_PRESETS} presets, and may have no more: delete some.")
    await kept.add_preset(connection, preset)


def _check_owner(preset: Preset, owner: str) -> None:
    if preset.owner != owner:
        raise Forbidden("Only its owner can change a preset that is shared. Save a copy of your own.")
