"""Endpoints: who is told what happens in a project. Every change is in the audit log as the doing of `actor`."""

import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import RowMapping, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.config_webhooks import WebhookSettings
from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.governance.audit import Audit
from mainspring.store.db import Database
from mainspring.store.outbox import remove_endpoints
from mainspring.store.tables import webhook_endpoints
from mainspring.webhooks.addresses import check_url, networks_of
from mainspring.webhooks.signing import digest_of, hint_of, secret_of

__all__ = ["OLD_S", "Endpoint", "Endpoints", "endpoint_in", "endpoint_of"]

OLD_S = 86_400.0
"""How long the secret before a rotation may stay good."""

_t = webhook_endpoints


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. Times are Unix seconds.

    Args:
        event_types: of `events.EVENT_TYPES`.
        generation: how often its secret was rotated.
        digest: SHA-256 of the secret.
        hint: what may be shown of it.
        old_until: when the secret before this one ends; 0 if it has.
    """

    id: str
    project: str
    name: str
    url: str
    event_types: tuple[str, ...]
    enabled: bool
    generation: int
    digest: str
    hint: str
    old_until: float
    created: float
    updated: float


class Endpoints:
    """The endpoints of one installation.

    Args:
        secret: the installation's: what theirs are derived from.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: WebhookSettings, secret: bytes, actor: str = "server"
    ) -> None:
        self._database, self._clock, self._settings, self._secret = database, clock, settings, secret
        self._allowed, self._audit = networks_of(settings.allow_networks), Audit(database, clock, actor)

    def by(self, actor: str) -> "Endpoints":
        """The same, on behalf of somebody else."""
        return Endpoints(self._database, self._clock, self._settings, self._secret, actor)

    async def create(
        self, project: str, *, name: str, url: str, event_types: Sequence[str], enabled: bool = True
    ) -> tuple[Endpoint, str]:
        """Make an endpoint; it, and its secret.

        Raises:
            InvalidRequest: the URL is refused.
            Conflict: the project has as many as it may.
        """
        self._check_url(url)
        now_s, id = self._clock.now(), f"whe_{secrets.token_hex(16)}"  # noqa: A001 - what the API calls it
        secret = secret_of(self._secret, id, 0)
        made = Endpoint(
            id=id, project=project, name=name, url=url, event_types=_ordered(event_types), enabled=enabled,
            generation=0, digest=digest_of(secret), hint=hint_of(secret), old_until=0.0, created=now_s, updated=now_s,
        )  # fmt: skip
        async with self._database.write() as connection:
            query = select(func.count()).select_from(_t).where(_t.c.project == project)
            most = self._settings.endpoints_per_project
            if (await connection.execute(query)).scalar_one() >= most:
                raise Conflict(f"The project {project!r} has {most} webhook endpoints, the most that it may.")
            await connection.execute(insert(_t).values(_row(made)))
            await self._note(connection, "webhook.create", made)
        return made, secret

    async def get(self, project: str, id: str) -> Endpoint:  # noqa: A002 - what the API calls it
        """An endpoint of a project.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            return await endpoint_in(connection, project, id)

    async def list(self, project: str, *, after: str | None = None, limit: int = 20) -> tuple[list[Endpoint], bool]:
        """Endpoints of a project, newest first, and whether there are more.

        Args:
            after: the id of the last one of the page before.

        Raises:
            InvalidRequest: `after` is none of the project's.
        """
        c = _t.c
        query = select(_t).where(c.project == project).order_by(c.created.desc(), c.id.desc()).limit(limit + 1)
        async with self._database.read() as connection:
            if after is not None:
                at = await _after(connection, project, after)
                query = query.where(or_(c.created < at.created, and_(c.created == at.created, c.id < at.id)))
            rows = (await connection.execute(query)).mappings().all()
        return [endpoint_of(row) for row in rows[:limit]], len(rows) > limit

    async def update(
        self, project: str, id: str, *, name: str | None = None, url: str | None = None,  # noqa: A002 - see above
        event_types: Sequence[str] | None = None, enabled: bool | None = None,
    ) -> Endpoint:  # fmt: skip
        """Change an endpoint; None leaves a thing as it is. Errors as of `create` and `get`."""
        if url is not None:
            self._check_url(url)
        given = {"name": name, "url": url, "enabled": enabled}
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if event_types is not None:
            changes["event_types"] = _ordered(event_types)
        async with self._database.write() as connection:
            old = await endpoint_in(connection, project, id)
            new = msgspec.structs.replace(old, **changes)
            if new == old:
                return old
            new = msgspec.structs.replace(new, updated=self._clock.now())
            await _write(connection, new)
            await self._note(connection, "webhook.update", new)
        return new

    async def rotate(
        self, project: str, id: str, *, keep_old: bool = False  # noqa: A002 - see above
    ) -> tuple[Endpoint, str]:  # fmt: skip
        """Give an endpoint another secret; it, and the secret.

        Args:
            keep_old: sign with the one before too, for a day.

        Raises:
            NotFound: as of `get`.
        """
        now_s = self._clock.now()
        async with self._database.write() as connection:
            old = await endpoint_in(connection, project, id)
            secret = secret_of(self._secret, id, old.generation + 1)
            new = msgspec.structs.replace(
                old, generation=old.generation + 1, digest=digest_of(secret), hint=hint_of(secret), updated=now_s,
                old_until=now_s + OLD_S if keep_old else 0.0,
            )  # fmt: skip
            await _write(connection, new)
            await self._note(connection, "webhook.rotate", new)
        return new, secret

    async def remove(self, project: str, id: str) -> None:  # noqa: A002 - see above
        """Delete an endpoint, and what it was or is to be told.

        Raises:
            NotFound: as of `get`.
        """
        async with self._database.write() as connection:
            found = await endpoint_in(connection, project, id)
            await remove_endpoints(connection, project, [id])
            await self._note(connection, "webhook.delete", found)

    def secrets(self, endpoint: Endpoint) -> Sequence[str]:
        """What deliveries to an endpoint are signed with now.

        Raises:
            Conflict: its secret was made under another secret of the installation than this server has.
        """
        secret = secret_of(self._secret, endpoint.id, endpoint.generation)
        if digest_of(secret) != endpoint.digest:
            raise Conflict(
                "The endpoint's signing secret was made under another secret than this server's: give the setting "
                "'secret' the same value on every server, or rotate the endpoint's."
            )
        if self._clock.now() < endpoint.old_until:
            return [secret, secret_of(self._secret, endpoint.id, endpoint.generation - 1)]
        return [secret]

    def _check_url(self, url: str) -> None:
        check_url(url, allow_http=self._settings.allow_http, allowed=self._allowed)

    async def _note(self, connection: AsyncConnection, action: str, endpoint: Endpoint) -> None:
        # Paths and queries are secrets with many a receiver.
        detail = {
            "host": urlsplit(endpoint.url).hostname,
            "event_types": list(endpoint.event_types),
            "enabled": endpoint.enabled,
        }
        await self._audit.record(connection, action, f"{endpoint.project}/{endpoint.id}", detail)


async def endpoint_in(connection: AsyncConnection, project: str, id: str) -> Endpoint:  # noqa: A002 - see above
    """As `Endpoints.get`, in a transaction that is open."""
    query = select(_t).where(_t.c.id == id, _t.c.project == project)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"No such webhook endpoint: {id[:100]}", param="webhook_endpoint_id")
    return endpoint_of(row)


async def _after(connection: AsyncConnection, project: str, after: str) -> Endpoint:
    try:
        return await endpoint_in(connection, project, after)
    except NotFound:
        raise InvalidRequest(f"'after' is no webhook endpoint: {after[:100]!r}.", param="after") from None


async def _write(connection: AsyncConnection, endpoint: Endpoint) -> None:
    await connection.execute(update(_t).where(_t.c.id == endpoint.id).values(_row(endpoint)))


def _ordered(event_types: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event_types))


def _row(endpoint: Endpoint) -> dict[str, Any]:
    fields = msgspec.structs.asdict(endpoint)
    return {**fields, "event_types": msgspec.json.encode(endpoint.event_types).decode()}


def endpoint_of(row: RowMapping) -> Endpoint:
    """From its row."""
    fields: dict[str, Any] = {name: row[name] for name in Endpoint.__struct_fields__}
    fields["event_types"] = msgspec.json.decode(row["event_types"], type=tuple[str, ...])
    return Endpoint(**fields)
