"""Service accounts: programs in a project, whose keys are made for them and end with them.

A key is an account's if its `owner` is the account's id. The account's role is that of the keys that it gets from then
on; a key that is there keeps its own.
"""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.types import Role
from mainspring.governance.audit import Audit
from mainspring.governance.keys import ApiKey, Keys
from mainspring.store.db import Database
from mainspring.store.tables import service_accounts

__all__ = ["ServiceAccount", "ServiceAccounts"]

MAX_NAME = 100
_t = service_accounts


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account. `created` is in Unix seconds; `role` is that of its keys, None of one that can have none yet."""

    id: str
    project: str
    name: str
    role: Role | None
    created: float


class ServiceAccounts:
    """The service accounts of one installation. Changes are written to the audit log as the doing of `actor`."""

    def __init__(self, database: Database, clock: Clock, keys: Keys, actor: str = "server") -> None:
        self._database, self._clock, self._keys = database, clock, keys
        self._audit = Audit(database, clock, actor)

    def by(self, actor: str) -> "ServiceAccounts":
        """The same, on behalf of somebody else."""
        return ServiceAccounts(self._database, self._clock, self._keys.by(actor), actor)

    async def create(
        self, project: str, name: str, *, role: Role | None = "user", expires_s: float | None = None
    ) -> tuple[ServiceAccount, tuple[ApiKey, str] | None]:
        """An account of a project, and unless it has no role a key of it with its secret, which is shown only once.

        Raises:
            InvalidRequest: the name or the time is refused, or the project is archived.
        """
        _check_name(name)
        account = ServiceAccount(
            id=f"svc_acct_{secrets.token_hex(12)}", project=project, name=name, role=role, created=self._clock.now()
        )
        async with self._database.write() as connection:
            await connection.execute(insert(_t).values(_row(account)))
            detail = {"name": name, "role": role, "project": project}
            await self._audit.record(connection, "service_account.create", account.id, detail)
            made = None if role is None else await self._key(connection, account, expires_s=expires_s)
        return account, made

    async def list(self, project: str) -> list[ServiceAccount]:
        """Those of a project, oldest first."""
        query = select(_t).where(_t.c.project == project).order_by(_t.c.created, _t.c.id)
        async with self._database.read() as connection:
            return [_account(row) for row in (await connection.execute(query)).mappings()]

    async def get(self, project: str, id: str) -> ServiceAccount:  # noqa: A002 - what the API calls it
        """An account of a project.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            return await _found(connection, project, id)

    async def update(
        self, project: str, id: str, *, name: str | None = None, role: Role | None = None  # noqa: A002 - see above
    ) -> ServiceAccount:  # fmt: skip
        """Change an account; None leaves a thing as it is.

        Raises:
            InvalidRequest: the name is refused.
            NotFound: as of `get`.
        """
        if name is not None:
            _check_name(name)
        async with self._database.write() as connection:
            old = await _found(connection, project, id)
            new = msgspec.structs.replace(old, name=name or old.name, role=role or old.role)
            await connection.execute(update(_t).where(_t.c.id == id).values(_row(new)))
            detail = {"name": name, "role": role, "project": project}
            await self._audit.record(connection, "service_account.update", id, detail)
        return new

    async def add_key(self, project: str, id: str, name: str | None = None) -> tuple[ApiKey, str]:  # noqa: A002
        """Another key of an account, and its secret.

        Raises:
            InvalidRequest: the name is refused, or the account has no role.
            NotFound: as of `get`.
        """
        async with self._database.write() as connection:
            account = await _found(connection, project, id)
            return await self._key(connection, account, name)

    async def remove(self, project: str, id: str) -> None:  # noqa: A002 - see above
        """Delete an account; its keys stop working here at once, in other processes within `keys.CACHE_S`.

        Raises:
            NotFound: as of `get`.
        """
        async with self._database.write() as connection:
            account = await _found(connection, project, id)
            await self._keys.revoke_owned(connection, project, id)
            await connection.execute(delete(_t).where(_t.c.id == id))
            detail = {"name": account.name, "project": project}
            await self._audit.record(connection, "service_account.delete", id, detail)
        self._keys.forget(project)

    async def _key(
        self, connection: AsyncConnection, account: ServiceAccount, name: str | None = None,
        expires_s: float | None = None,
    ) -> tuple[ApiKey, str]:  # fmt: skip
        if account.role is None:
            raise InvalidRequest(f"The service account {account.name!r} has no role: give it one first.", param="role")
        # Names of keys are unique among all projects, those of accounts are not.
        name = name or f"{account.name[: MAX_NAME - 13].rstrip()} {secrets.token_hex(6)}"
        return await self._keys.create_in(
            connection, name, account.role, expires_s, project=account.project, owner=account.id
        )


async def _found(connection: AsyncConnection, project: str, id: str) -> ServiceAccount:  # noqa: A002 - see above
    query = select(_t).where(_t.c.id == id, _t.c.project == project)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"No such service account: {id[:100]}", param="service_account_id")
    return _account(row)


def _account(row: Mapping[Any, Any]) -> ServiceAccount:
    found = {name: row[name] for name in ServiceAccount.__struct_fields__}
    return msgspec.convert(found | {"role": row["role"] or None}, ServiceAccount)


def _row(account: ServiceAccount) -> dict[str, Any]:
    return {**msgspec.structs.asdict(account), "role": account.role or ""}


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidRequest(f"A service account's name has 1 to {MAX_NAME} printable characters.", param="name")
