"""What commands do with the data directory's database, without a server."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mainspring.core.config import Settings
    from mainspring.core.types import ModelVersion
    from mainspring.governance.policies import Policies
    from mainspring.governance.projects import Projects
    from mainspring.governance.usage import Reports
    from mainspring.store.db import Database

__all__ = ["Wanted", "actor", "with_database", "with_wanted"]

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


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of the installation, to be changed on behalf of whoever sits at the command line. A server that
    runs notices within a second."""

    projects: "Projects"
    policies: "Policies"
    reports: "Reports"
    versions: "Callable[[], Sequence[ModelVersion]]"
    find: "Callable[[str], ModelVersion]"


def actor() -> str:
    """Whose doing it is: for the audit log."""
    return f"command line: {getpass.getuser()}"


def with_wanted(home: Path | None, use: "Callable[[Wanted], Awaitable[T]]") -> T:
    """What `use` returns, given what is wanted.

    Raises:
        UserMistake: the database cannot be opened.
    """
    from mainspring.core.config import load_settings

    settings = load_settings(home)

    async def run(database: "Database") -> T:
        wanted = _wanted(database, settings)
        await wanted.projects.ensure_default()
        return await use(wanted)

    return with_database(home, run)


def _wanted(database: "Database", settings: "Settings") -> Wanted:
    from mainspring.core.clock import SystemClock
    from mainspring.governance.keys import Keys
    from mainspring.governance.policies import Policies
    from mainspring.governance.projects import Projects
    from mainspring.governance.secret import installation_secret
    from mainspring.governance.usage import Reports
    from mainspring.models.catalog import Catalog

    clock, catalog = SystemClock(), Catalog(settings.home / "models")
    projects = Projects(
        database, clock, Keys(database, clock, actor()), find=catalog.get,
        secret=installation_secret(settings.home, settings.secret), units=settings.quota_units, actor=actor(),
    )  # fmt: skip
    return Wanted(
        projects=projects, policies=Policies(database, clock, actor()), reports=Reports(database),
        versions=catalog.list, find=catalog.get,
    )  # fmt: skip
