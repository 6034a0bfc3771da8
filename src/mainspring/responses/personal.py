"""Instructions that people have for all of their chats. They become part of a turn's own `instructions`, so that what
the model was told is to be seen with the turn, and stays with it."""

import msgspec

from mainspring.core.clock import Clock
from mainspring.store.db import Database
from mainspring.store.personal import Personal, keep_personal, personal_of

__all__ = ["ABOUT", "STYLE", "PersonalInstructions", "instructed"]

ABOUT = "About the user:"
STYLE = "How the user wants answers to be:"


def instructed(personal: Personal, instructions: str | None, *, is_temporary: bool) -> str | None:
    """The instructions of a turn. The chat's own come last: they are about this chat, and are to win."""
    if not personal.enabled or (is_temporary and not personal.in_temporary):
        return instructions
    said = ((ABOUT, personal.about.strip()), (STYLE, personal.style.strip()))
    parts = [f"{heading}\n{text}" for heading, text in said if text]
    if instructions and instructions.strip():
        parts.append(instructions)
    return "\n\n".join(parts) or instructions


class PersonalInstructions:
    """Those of one installation, by a principal's `person` in a project."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def get(self, project: str, owner: str) -> Personal:
        """Somebody's."""
        async with self._database.read() as connection:
            return await personal_of(connection, project, owner)

    async def put(self, project: str, owner: str, personal: Personal) -> Personal:
        """Have these in the place of what was there."""
        made = msgspec.structs.replace(personal, updated=self._clock.now())
        async with self._database.write() as connection:
            await keep_personal(connection, project, owner, made)
        return made

    async def take(self, project: str, owner: str, personal: Personal) -> bool:
        """Keep what was said elsewhere, with its time, unless something was said here; whether it was kept."""
        async with self._database.write() as connection:
            if (await personal_of(connection, project, owner)).updated is not None:
                return False
            await keep_personal(connection, project, owner, personal)
        return True
