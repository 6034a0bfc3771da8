"""What commands do with the data directory's database, without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mainspring.store.db import Database

__all__ = ["with_database"]

T = TypeVar("T")


def with_database(home: Path | None, use: "Callable[[Database], Awaitable[T]]") -> T:
    """What `use` returns, given the database that a server of this data directory would open.

    Raises:
        UserMistake: it cannot be opened.
    """
    from mainspring.core.config import create_home, load_settings
    from mainspring.store.db import Database

    async def run() -> T:
        settings = load_settings(home)
        database = await Database.open(create_home(settings.home), settings.database)
        try:
            return await use(database)
        finally:
            await database.close()

    return asyncio.run(run())
