"""API keys: made, listed, revoked, and checked on every request.

A secret is 256 random bits, so its plain SHA-256 is what is stored: slow password hashes defend secrets that can be
guessed, and this one cannot. A verified key is remembered for `CACHE_S`, so a revocation in any process acts within
that time, and a busy server does not ask the database for every request.
"""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, NotFound, Unauthorized, Unavailable
from mainspring.core.types import Limits, Principal
from mainspring.governance.audit import Audit
from mainspring.governance.roles import ROLES, Role, grant
from mainspring.governance.wanted import DEFAULT
from mainspring.store.db import Database
from mainspring.store.tables import api_keys, projects

__all__ = ["CACHE_S", "ApiKey", "Keys", "Role", "check_limits", "principal_of"]

CACHE_S = 2.0
CACHE_SIZE = 4096
LAST_USED_S = 60.0
"""How old `last_used` may be before it is written again: a write for every request would be a waste."""

PREFIX_CHARACTERS = 8
MAX_SECRET_CHARACTERS = 256
MAX_LIMIT = 10**15
NO_LIMITS = Limits()


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. Times are Unix seconds; `prefix` is how the secret starts.

    Args:
        project: the only one that it is for.
        owner: the person or program it was made for.
        deployments: the only ones that it is for; empty means all of the project.
        slot: key1 or key2 if it is one of the project's own two.
    """

    id: str
    name: str
    role: Role
    prefix: str
    created: float
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None
    limits: Limits = Limits()
    project: str = "default"
    owner: str = ""
    deployments: tuple[str, ...] = ()
    slot: str = ""

    def state(self, now_s: float) -> Literal["active", "expired", "revoked"]:
        """Whether it works at the time `now_s`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now_s else "active"


class Keys:
    """The keys of one installation. Changes are written to the audit log as the doing of `actor`."""

    def __init__(self, database: Database, clock: Clock, actor: str = "server") -> None:
        self._database, self._clock = database, clock
        self._audit = Audit(database, clock, actor)
        self._verified: dict[
            str, tuple[ApiKey, float]
        ] = {}  # hash of the secret -> the key, and until when (monotonic)
        self._looking: dict[str, asyncio.Task[ApiKey | None]] = {}  # hash -> the look-up that is under way
        self._known: dict[str, ApiKey] = {}  # id -> the key as it was last seen; as many as there are
        self._watchers: list[Callable[[], None]] = []

    def by(self, actor: str) -> "Keys":
        """The same, on behalf of somebody else."""
        other = Keys(self._database, self._clock, actor)
        other._verified, other._known, other._watchers = self._verified, self._known, self._watchers
        return other

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever keys are to be looked up again: some were ended, or have other limits."""
        self._watchers.append(changed)

    async def create(
        self,
        name: str,
        role: Role = "user",
        expires_s: float | None = None,
        limits: Limits = NO_LIMITS,
        *,
        project: str = "default",
        owner: str = "",
        deployments: Sequence[str] = (),
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which is not stored and cannot be shown again.

        Args:
            name: 1 to 100 characters, unique among the keys that are not revoked.
            role: what it may do: `governance.roles`.
            expires_s: seconds from now until it stops working; None means never.
            limits: how much may be used with it.
            project, owner, deployments: see `ApiKey`.

        Raises:
            InvalidRequest: the name, role, time, project or a limit is refused.
        """
        async with self._database.write() as connection:
            return await self.create_in(
                connection, name, role, expires_s, limits, project=project, owner=owner, deployments=tuple(deployments)
            )

    async def create_in(
        self, connection: AsyncConnection, name: str, role: Role, expires_s: float | None = None,
        limits: Limits = NO_LIMITS, **more: Any,
    ) -> tuple[ApiKey, str]:  # fmt: skip
        """The same, in a transaction that makes more than the key."""
        secret, now_s = f"ms-{secrets.token_urlsafe(32)}", self._clock.now()
        if expires_s is not None and not 0 < expires_s < 1e10:
            raise InvalidRequest("A key expires after some seconds from now.", param="expires_s")
        expires = None if expires_s is None else now_s + expires_s
        key = _new(secret, name, role, now_s, limits=limits, expires=expires, **more)
        return await self._add(connection, secret, key), secret

    async def add_slot(self, connection: AsyncConnection, project: str, slot: str, secret: str) -> None:
        """Put the project's own key in its slot, in the transaction that decides so; the one before stops working."""
        for old in await self._of(connection, project, slot):
            await self._end(connection, old)
        await _insert(connection, secret, _new(secret, f"{project}/{slot}", "user", self._clock.now(),
                                               project=project, slot=slot))  # fmt: skip

    async def holds(self, project: str, slot: str, secret: str) -> bool:
        """Whether this is the project's own key in that slot."""
        async with self._database.read() as connection:
            found = await self._rows(connection, project, slot)
        return any(hmac.compare_digest(row["hash"], _digest(secret)) for row in found)

    def forget(self, project: str) -> None:
        """Look the keys of a project up again when they are next used: some were ended. Called after the transaction
        that did so, since until then they are still found."""
        for digest, (key, _) in list(self._verified.items()):
            if key.project == project:
                del self._verified[digest]
        for changed in self._watchers:
            changed()

    async def revoke_all(self, connection: AsyncConnection, project: str) -> None:
        """Make every key of a project stop working, in the transaction that deletes it."""
        for old in await self._of(connection, project):
            await self._end(connection, old)

    async def revoke_owned(self, connection: AsyncConnection, project: str, owner: str) -> None:
        """Make every key of an owner in a project stop working, in the transaction that decides so."""
        for old in await self._of(connection, project):
            if old.owner == owner:
                await self._end(connection, old)
                await self._audit.record(connection, "key.revoke", old.id, {"name": old.name, "project": project})

    async def _of(self, connection: AsyncConnection, project: str, slot: str | None = None) -> "list[ApiKey]":
        return [_to_key(row) for row in await self._rows(connection, project, slot)]

    async def _rows(self, connection: AsyncConnection, project: str, slot: str | None) -> "list[RowMapping]":
        query = select(api_keys).where(api_keys.c.project == project, api_keys.c.revoked.is_(None))
        if slot is not None:
            query = query.where(api_keys.c.slot == slot)
        return [*(await connection.execute(query)).mappings()]

    async def _end(self, connection: AsyncConnection, key: ApiKey) -> None:
        await connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(revoked=self._clock.now()))
        self._forget(key.id)

    def _forget(self, key_id: str) -> None:
        for digest in [digest for digest, (key, _) in self._verified.items() if key.id == key_id]:
            del self._verified[digest]
        for changed in self._watchers:
            changed()

    async def list(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(api_keys).order_by(api_keys.c.created, api_keys.c.id))
            return [_to_key(row) for row in rows.mappings()]

    async def revoke(self, id_or_name: str) -> ApiKey:
        """Make a key stop working, here at once and in other processes within `CACHE_S`.

        Raises:
            NotFound: no key that works has that id or name.
        """
        found = await self._active(id_or_name)
        now_s = self._clock.now()
        async with self._database.write() as connection:
            await connection.execute(update(api_keys).where(api_keys.c.id == found.id).values(revoked=now_s))
            await self._audit.record(connection, "key.revoke", found.id, {"name": found.name, "project": found.project})
        self._forget(found.id)
        return msgspec.structs.replace(found, revoked=now_s)

    async def limit(self, id_or_name: str, limits: Limits) -> ApiKey:
        """Replace the limits of a key: here at once, in other processes within `CACHE_S`.

        Raises:
            NotFound: no key that works has that id or name.
            InvalidRequest: a limit is refused.
        """
        check_limits(limits)
        found = await self._active(id_or_name)
        async with self._database.write() as connection:
            stored = msgspec.json.encode(limits).decode()
            await connection.execute(update(api_keys).where(api_keys.c.id == found.id).values(limits=stored))
            detail = {"name": found.name, "project": found.project, "before": found.limits, "after": limits}
            await self._audit.record(connection, "key.limit", found.id, detail)
        self._forget(found.id)
        changed = msgspec.structs.replace(found, limits=limits)
        if found.id in self._known:
            self._known[found.id] = changed
        return changed

    def find(self, key_id: str) -> ApiKey | None:
        """The key with this id, if it has been used here, as it was when it was last looked up."""
        return self._known.get(key_id)

    async def recall(self, key_id: str) -> ApiKey | None:
        """The key with this id as it is now, for work that goes on without its secret; `find` knows it from then on.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._database.read() as connection:
            row = (await connection.execute(select(api_keys).where(api_keys.c.id == key_id))).mappings().first()
        if row is None:
            return None
        key = self._known[key_id] = _to_key(row)
        return key

    async def use(self, key_id: str) -> ApiKey | None:
        """The key with this id if it works, as if its secret had been shown: for sessions. Errors as of `recall`."""
        key = await self.recall(key_id)
        if key is None or key.state(self._clock.now()) != "active":
            return None
        await self._note_use(key)
        return key

    async def _active(self, id_or_name: str) -> ApiKey:
        found = next((key for key in await self.list() if not key.revoked and id_or_name in {key.id, key.name}), None)
        if found is None:
            raise NotFound(f"There is no key {id_or_name!r} that works: `mainspring keys list` shows them.")
        return found

    async def authenticate(self, secret: str) -> Principal:
        """Whose key this is.

        Raises:
            Unauthorized: unknown, revoked or expired. It is not said which.
        """
        if not secret.startswith("ms-") or len(secret) > MAX_SECRET_CHARACTERS:
            raise _refused()
        digest = _digest(secret)
        key, until_s = self._verified.get(digest, (None, 0.0))
        if key is None or self._clock.monotonic() >= until_s:
            key = await self._look_up_once(digest)
        if key is None or key.state(self._clock.now()) != "active":
            self._verified.pop(digest, None)
            raise _refused()
        return principal_of(key)

    async def _look_up_once(self, digest: str) -> ApiKey | None:
        """All requests that wait for the same key wait for one look-up, however many come while it is under way."""
        task = self._looking.get(digest)
        if task is None:
            task = self._looking[digest] = asyncio.create_task(self._look_up(digest))
            task.add_done_callback(lambda _: self._looking.pop(digest))
        return await asyncio.shield(task)  # a client that leaves takes nobody else's answer with it

    async def _look_up(self, digest: str) -> ApiKey | None:
        # The clock is read first: a revocation that comes during the query must still act within CACHE_S.
        until_s = self._clock.monotonic() + CACHE_S
        async with self._database.read() as connection:
            rows = await connection.execute(select(api_keys).where(api_keys.c.hash == digest))
            row = rows.mappings().first()
        if row is None or not hmac.compare_digest(cast("str", row["hash"]), digest):
            return None
        key = _to_key(row)
        if len(self._verified) >= CACHE_SIZE:
            self._verified.clear()
        self._known[key.id] = key
        self._verified[digest] = (key, until_s)
        await self._note_use(key)
        return key

    async def _note_use(self, key: ApiKey) -> None:
        now_s = self._clock.now()
        if key.last_used is not None and now_s - key.last_used < LAST_USED_S:
            return
        # Nobody's request fails because the database is busy with something else.
        with contextlib.suppress(Unavailable):
            async with self._database.write() as connection:
                await connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(last_used=now_s))

    async def _add(self, connection: AsyncConnection, secret: str, key: ApiKey) -> ApiKey:
        if key.project != DEFAULT:
            living = select(projects.c.name).where(projects.c.name == key.project, projects.c.archived.is_(None))
            if (await connection.execute(living)).first() is None:
                raise InvalidRequest(f"There is no project {key.project!r}, or it is archived.", param="project")
        try:
            await _insert(connection, secret, key)
            detail = {"name": key.name, "role": key.role, "expires": key.expires, "limits": key.limits}
            detail |= {"project": key.project, "owner": key.owner, "deployments": key.deployments}
            await self._audit.record(connection, "key.create", key.id, detail)
        except IntegrityError as error:
            raise InvalidRequest(
                f"There is a key named {key.name!r}: choose another name, or revoke that one first.", param="name"
            ) from error
        return key

    async def admins(self) -> "list[ApiKey]":
        """The keys of administrators that work."""
        now_s = self._clock.now()
        return [key for key in await self.list() if key.role == "admin" and key.state(now_s) == "active"]

    async def add_admin(self, secret: str) -> ApiKey:
        """The admin key with this secret, under a name that is free."""
        taken = any(key.name == "admin" and key.revoked is None for key in await self.list())
        name = f"admin-{secrets.token_hex(3)}" if taken else "admin"
        async with self._database.write() as connection:
            return await self._add(connection, secret, _new(secret, name, "admin", self._clock.now()))


def principal_of(key: ApiKey) -> Principal:
    """Whoever has shown this key."""
    grants = (grant(key.role, key.project),)
    return Principal(id=key.id, name=key.name, project=key.project, grants=grants, owner=key.owner)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _new(secret: str, name: str, role: Role, now_s: float, *, limits: Limits = NO_LIMITS, **more: Any) -> ApiKey:
    if not 1 <= len(name) <= 100 or not name.isprintable() or name != name.strip():
        raise InvalidRequest("A key's name has 1 to 100 printable characters.", param="name")
    if role not in ROLES:
        raise InvalidRequest(f"{role!r} is not a role: use one of {', '.join(ROLES)}.", param="role")
    check_limits(limits)
    prefix = secret[:PREFIX_CHARACTERS]
    return ApiKey(
        id=f"key_{secrets.token_hex(8)}", name=name, role=role, prefix=prefix, created=now_s, limits=limits, **more
    )


async def _insert(connection: AsyncConnection, secret: str, key: ApiKey) -> None:
    row = {**msgspec.structs.asdict(key), "hash": _digest(secret)}
    for name in ("limits", "deployments"):
        row[name] = msgspec.json.encode(row[name]).decode()
    await connection.execute(insert(api_keys).values(row))


def _to_key(row: Mapping[Any, Any]) -> ApiKey:
    decoded = {name: msgspec.json.decode(row[name]) for name in ("limits", "deployments")}
    return msgspec.convert({name: row[name] for name in ApiKey.__struct_fields__} | decoded, ApiKey)


def check_limits(limits: Limits) -> None:
    """Raise InvalidRequest unless they can be kept."""
    if limits.provisioned_tokens_per_minute is not None:
        raise InvalidRequest("Only a deployment has provisioned capacity.", param="provisioned_tokens_per_minute")
    for name, value in msgspec.structs.asdict(limits).items():
        if value is not None and not 0 <= value <= MAX_LIMIT:
            raise InvalidRequest(f"A limit lies between 0 and {MAX_LIMIT:,}.", param=name)


def _refused() -> Unauthorized:
    return Unauthorized(
        "The API key is not valid: `mainspring keys list` shows those that are, and `create` makes one."
    )
