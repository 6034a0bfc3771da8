"""Which projects may use a checkpoint: the one whose job made it, and those that it was shared with."""

import secrets
from collections.abc import Sequence

import msgspec
from sqlalchemy import RowMapping, and_, delete, insert, or_, select

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, ModelNotFound, NotFound
from mainspring.governance.audit import Audit
from mainspring.governance.state import writing
from mainspring.store.db import Database
from mainspring.store.jobs import checkpoint_named
from mainspring.store.tables import checkpoint_permissions

__all__ = ["MAX_PROJECTS", "Permission", "Sharing"]

MAX_PROJECTS = 100


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """A project that a checkpoint is shared with."""

    id: str
    checkpoint: str
    project: str
    created: float


class Sharing:
    """The permissions of checkpoints: what is wanted (`governance.wanted.Snapshot.shares`), so every change is in the
    audit log as the doing of `actor`, and every server hears of it."""

    def __init__(self, database: Database, clock: Clock, actor: str = "server") -> None:
        self._database, self._clock = database, clock
        self._audit = Audit(database, clock, actor)

    def by(self, actor: str) -> "Sharing":
        """The same, on behalf of somebody else."""
        return Sharing(self._database, self._clock, actor)

    async def share(self, owner: str, checkpoint: str, projects: Sequence[str]) -> list[Permission]:
        """Let projects use a checkpoint of the project `owner`; those that may already keep what they have.

        Raises:
            ModelNotFound: the project has no such checkpoint.
            InvalidRequest: no project is named, or too many.
        """
        if not 1 <= len(projects) <= MAX_PROJECTS:
            raise InvalidRequest(f"Name 1 to {MAX_PROJECTS} projects.", param="project_ids")
        await self._check(owner, checkpoint)
        now_s, made = self._clock.now(), list[Permission]()
        table = checkpoint_permissions
        async with writing(self._database, self._audit) as change:
            connection = change.connection
            for project in dict.fromkeys(projects):
                same = and_(table.c.checkpoint == checkpoint, table.c.project == project)
                row = (await connection.execute(select(table).where(same))).mappings().one_or_none()
                if row is not None:
                    made.append(_permission(row))
                    continue
                new = Permission(
                    id=f"cp_{secrets.token_hex(12)}", checkpoint=checkpoint, project=project, created=now_s
                )
                await connection.execute(insert(table).values(msgspec.structs.asdict(new)))
                made.append(new)
                await change.note("model.share", checkpoint, {"project": project})
        return made

    async def list(
        self, owner: str, checkpoint: str, *, project: str | None = None, after: str | None = None, limit: int = 10,
        descending: bool = True,
    ) -> tuple[list[Permission], bool]:  # fmt: skip
        """Whom a checkpoint is shared with by the time when it was, and whether there are more.

        Raises:
            ModelNotFound: the project has no such checkpoint.
            InvalidRequest: `after` is no permission of it.
        """
        await self._check(owner, checkpoint)
        table = checkpoint_permissions
        when, id = table.c.created, table.c.id  # noqa: A001 - the column
        query = select(table).where(table.c.checkpoint == checkpoint).limit(limit + 1)
        query = query.order_by(*((when.desc(), id.desc()) if descending else (when, id)))
        if project is not None:
            query = query.where(table.c.project == project)
        async with self._database.read() as connection:
            if after is not None:
                of = select(table).where(id == after, table.c.checkpoint == checkpoint)
                at = (await connection.execute(of)).mappings().one_or_none()
                if at is None:
                    raise InvalidRequest("'after' is no permission of this checkpoint.", param="after")
                later, last = (when < at["created"], id < after) if descending else (when > at["created"], id > after)
                query = query.where(or_(later, and_(when == at["created"], last)))
            found = (await connection.execute(query)).mappings().all()
        return [_permission(row) for row in found[:limit]], len(found) > limit

    async def revoke(self, owner: str, checkpoint: str, id: str) -> None:  # noqa: A002 - what the API calls it
        """Share it with a project no longer.

        Raises:
            ModelNotFound: the project has no such checkpoint.
            NotFound: it has no such permission.
        """
        await self._check(owner, checkpoint)
        table = checkpoint_permissions
        async with writing(self._database, self._audit) as change:
            query = delete(table).where(table.c.id == id, table.c.checkpoint == checkpoint)
            if not (await change.connection.execute(query)).rowcount:
                raise NotFound(f"No such permission: {id[:100]}", param="permission_id")
            await change.note("model.unshare", checkpoint, {"permission": id})

    async def _check(self, owner: str, checkpoint: str) -> None:
        async with self._database.read() as connection:
            found = await checkpoint_named(connection, checkpoint)
        if found is None or found[1] != owner:
            raise ModelNotFound(
                f"The model {checkpoint[:320]!r} does not exist or is no checkpoint of this project's jobs.",
                param="fine_tuned_model_checkpoint",
            )


def _permission(row: RowMapping) -> Permission:
    return Permission(**{name: row[name] for name in Permission.__struct_fields__})
