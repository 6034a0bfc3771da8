"""What the tests of projects, policies and the directory have in common: all of it over one database."""

from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from mainspring.core.clock import FakeClock
from mainspring.core.errors import ModelNotFound
from mainspring.core.types import FileRef, ModelVersion
from mainspring.governance.audit import Audit
from mainspring.governance.keys import Keys
from mainspring.governance.policies import Policies
from mainspring.governance.projects import Projects
from mainspring.store import tables
from mainspring.store.db import Database

UNITS = 100


def version(name: str, number: str, created: int = 1) -> ModelVersion:
    file = FileRef(path="w", bytes=0, sha256="0" * 64)
    return ModelVersion(name=name, version=number, kind="chat", format="gguf", files=(file,), source=f"file:{number}",
                        created=created)  # fmt: skip


@dataclass
class World:
    """One installation. `models` is its catalog, newest first; `changes` counts what was told."""

    database: Database
    clock: FakeClock = field(default_factory=FakeClock)
    models: list[ModelVersion] = field(default_factory=lambda: [version("tiny", "new", 2), version("tiny", "old", 1)])
    changes: int = 0

    def __post_init__(self) -> None:
        self.keys = Keys(self.database, self.clock, "eve")
        self.projects = Projects(
            self.database, self.clock, self.keys, find=self.find, secret=b"secret", units=UNITS, actor="eve",
            changed=self.changed,
        )  # fmt: skip
        self.policies = Policies(self.database, self.clock, "eve", self.changed)
        self.audit = Audit(self.database, self.clock, "nobody")

    def find(self, name: str) -> ModelVersion:
        wanted, _, number = name.partition("@")
        for each in self.models:
            if each.name == wanted and number in ("", each.version):
                return each
        raise ModelNotFound(f"The model {name!r} is not in the catalog.")

    def changed(self) -> None:
        self.changes += 1

    @classmethod
    async def open(cls, home: Path, url: str) -> "World":
        return cls(await Database.open(home, url))

    async def check_integrity(self) -> None:
        """The log is whole, every row belongs to something, and only projects that there are have keys."""
        assert (await self.audit.verify()).broken is None
        snapshot = await self.projects.snapshot()
        for table in (snapshot.deployments, snapshot.policies, snapshot.blocklists, snapshot.items):
            assert {project for project, _ in table} <= set(snapshot.projects)
        assert set(snapshot.items) <= set(snapshot.blocklists)
        for each in snapshot.deployments.values():
            assert not each.spillover or snapshot.deployments[each.project, each.spillover].kind == "standard"
        keys = tables.api_keys.c
        async with self.database.read() as connection:
            rows = await connection.execute(sa.select(keys.project, keys.slot).where(keys.revoked.is_(None)))
            active = sorted((row.project, row.slot) for row in rows if row.slot)
        assert active == sorted((name, slot) for name in snapshot.projects for slot in ("key1", "key2"))
