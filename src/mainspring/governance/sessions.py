"""Sessions: who is signed in with a browser. Opened with a key, at an identity provider or with a one-time link.

A secret is 256 random bits, of which the SHA-256 is stored, as of keys. It travels in a cookie, which a browser sends
by itself; so whoever changes something must also know the session's second word, `csrf`, which is derived from the
secret and which no other site's page can read.

A session that was opened with a key is worth what the key is worth now: its roles, its project and its limits, and
nothing once the key has expired or was revoked. It ends `session_s` after it was last used, or a hundredth of that
sooner. One of an identity provider has the roles of when it was opened, and ends so long after that, used or not:
nobody tells us when somebody has left.

What was verified is remembered for `CACHE_S`. A sign-out, and a revocation of the key, act here at once and in other
processes within that time.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
from typing import Any, Literal

import msgspec
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, MainspringError, Unauthorized, Unavailable
from mainspring.core.types import Grant, Principal
from mainspring.governance.audit import Audit
from mainspring.governance.keys import CACHE_S, ApiKey, Keys, principal_of
from mainspring.store.db import Database
from mainspring.store.tables import sessions as table

__all__ = ["LINK_S", "Session", "Sessions"]

LINK_S = 120.0
"""How long a one-time link works."""
RENEWED = 0.01
"""Of its time: what must have gone by before a session that is used is written again, with a later end."""
CACHE_SIZE = 4096
MAX_SECRET_CHARACTERS = 64
SWEEP_S = 600.0

_log = log.get("mainspring.sessions")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is signed in.

    Args:
        id: SHA-256 of the secret, in hex.
        csrf: what a request that changes something must carry besides the cookie.
        expires: when it ends if it is not used before, in Unix seconds.
        principal: who it is, with the rights of now.
    """

    id: str
    kind: Literal["key", "oidc"]
    csrf: str
    expires: float
    principal: Principal

    def is_csrf(self, given: str) -> bool:
        """Whether this is its second word."""
        return hmac.compare_digest(self.csrf.encode(), given.encode(errors="surrogatepass"))


class _Verified(msgspec.Struct, frozen=True):
    """A session, the key that it stands on, and until when both are believed (monotonic)."""

    session: Session
    key: ApiKey | None
    until_s: float

    def holds(self, clock: Clock) -> bool:
        """Whether it can be believed still."""
        now_s = clock.now()
        lives = self.session.expires > now_s and (self.key is None or self.key.state(now_s) == "active")
        return lives and clock.monotonic() < self.until_s


class Sessions:
    """The sessions of one installation.

    Args:
        session_s: seconds without use after which one of a key ends.
        oidc_session_s: seconds after which one of an identity provider ends.
    """

    def __init__(
        self, database: Database, clock: Clock, keys: Keys, *, session_s: float, oidc_session_s: float = 43_200.0
    ) -> None:
        self._database, self._clock, self._keys = database, clock, keys
        self._session_s, self._oidc_session_s = session_s, oidc_session_s
        self._verified: dict[str, _Verified] = {}
        self._looking: dict[str, asyncio.Task[_Verified | None]] = {}
        self._forgotten = 0  # counted up, so that a look-up that began before does not remember what it found
        keys.watch(self._forget)

    # -- signing in ----------------------------------------------------------------------------------------------------

    async def sign_in(self, key: str) -> tuple[Session, str]:
        """A session of whoever knows this key, and its secret.

        Raises:
            Unauthorized: the key does not work.
        """
        principal = await self._keys.authenticate(key)
        return await self._open(await self._working(principal.id), "key")

    async def open_for(self, principal: Principal) -> tuple[Session, str]:
        """A session of somebody whom the identity provider has named, and its secret."""
        row = {"name": principal.name, "project": principal.project, "grants": _encoded(principal.grants)}
        async with self._database.write() as connection:
            return await self._insert(connection, principal, "oidc", "oidc", **row)

    async def link(self, key_id: str) -> tuple[str, float]:
        """A code that opens one session of a key, and when it stops doing so (Unix seconds).

        Raises:
            InvalidRequest: this is no key that works; somebody with a token has none.
        """
        key, code, now_s = await self._keys.use(key_id), secrets.token_urlsafe(32), self._clock.now()
        if key is None:
            raise InvalidRequest("A link is made for a key, and this is none that works.")
        async with self._database.write() as connection:
            await connection.execute(insert(table).values(_row(code, "link", key.id, now_s, now_s + LINK_S)))
        return code, now_s + LINK_S

    async def redeem(self, code: str) -> tuple[Session, str]:
        """The session that a link is good for. Of several that use it at once, one gets it.

        Raises:
            Unauthorized: there is no such link, it was used, its time is over, or its key does not work.
        """
        refusal = Unauthorized(
            "This link has been used, or its two minutes are over: `mainspring open` makes another.",
            code="invalid_link",
        )
        if len(code) > MAX_SECRET_CHARACTERS:
            raise refusal
        is_it = (table.c.hash == _digest(code)) & (table.c.kind == "link")
        async with self._database.write() as connection:
            row = (await connection.execute(select(table).where(is_it))).mappings().first()
            gone = await connection.execute(delete(table).where(is_it))
        if row is None or not gone.rowcount or row["expires"] <= self._clock.now():
            raise refusal
        return await self._open(await self._working(row["subject"]), "link")

    async def _working(self, key_id: str) -> ApiKey:
        key = await self._keys.use(key_id)
        if key is None:
            raise Unauthorized("The key does not work any longer: sign in with another one.")
        return key

    async def _open(self, key: ApiKey, by: str) -> tuple[Session, str]:
        async with self._database.write() as connection:
            return await self._insert(connection, principal_of(key), "key", by)

    async def _insert(
        self, connection: AsyncConnection, principal: Principal, kind: Literal["key", "oidc"], by: str, **more: str
    ) -> tuple[Session, str]:
        secret, now_s = secrets.token_urlsafe(32), self._clock.now()
        expires = now_s + (self._session_s if kind == "key" else self._oidc_session_s)
        row = _row(secret, kind, principal.id, now_s, expires)
        await connection.execute(insert(table).values(row | more))
        await self._record(connection, principal, "session.open", {"with": by})
        return Session(id=row["hash"], kind=kind, csrf=_csrf(secret), expires=expires, principal=principal), secret

    # -- being signed in -----------------------------------------------------------------------------------------------

    async def authenticate(self, secret: str) -> Session:
        """Whose session this is.

        Raises:
            Unauthorized: there is none, or none any longer. It is not said which.
        """
        refusal = Unauthorized("You are signed out: sign in again.", code="signed_out")
        if not 0 < len(secret) <= MAX_SECRET_CHARACTERS:
            raise refusal
        digest = _digest(secret)
        found = self._verified.get(digest)
        if found is None or not found.holds(self._clock):
            self._verified.pop(digest, None)
            found = await self._look_up_once(digest, _csrf(secret))
        if found is None:
            raise refusal
        return found.session

    async def _look_up_once(self, digest: str, csrf: str) -> _Verified | None:
        """A page asks for several things at once: all of them wait for one look-up."""
        task = self._looking.get(digest)
        if task is None:
            task = self._looking[digest] = asyncio.create_task(self._look_up(digest, csrf))
            task.add_done_callback(lambda _: self._looking.pop(digest))
        return await asyncio.shield(task)  # a client that leaves takes nobody else's answer with it

    async def _look_up(self, digest: str, csrf: str) -> _Verified | None:
        until_s, forgotten = self._clock.monotonic() + CACHE_S, self._forgotten
        lives = (table.c.hash == digest) & (table.c.expires > self._clock.now()) & (table.c.kind != "link")
        async with self._database.read() as connection:
            row = (await connection.execute(select(table).where(lives))).mappings().first()
        if row is None:
            return None
        key = None if row["kind"] == "oidc" else await self._keys.use(row["subject"])
        if key is None and row["kind"] != "oidc":
            return None
        expires = await self._renew(row)
        principal = principal_of(key) if key else _principal(row)
        session = Session(id=digest, kind=row["kind"], csrf=csrf, expires=expires, principal=principal)
        found = _Verified(session, key, until_s)
        if forgotten == self._forgotten:
            if len(self._verified) >= CACHE_SIZE:
                self._verified.clear()
            self._verified[digest] = found
        return found

    async def _renew(self, row: RowMapping) -> float:
        """When it ends, now that it is used."""
        expires = self._clock.now() + self._session_s
        if row["kind"] != "key" or expires - row["expires"] < self._session_s * RENEWED:
            return row["expires"]
        # Nobody's request fails because the database is busy with something else.
        with contextlib.suppress(Unavailable):
            async with self._database.write() as connection:
                await connection.execute(update(table).where(table.c.hash == row["hash"]).values(expires=expires))
        return expires

    # -- signing out ---------------------------------------------------------------------------------------------------

    async def close(self, session: Session) -> None:
        """End it."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(table).where(table.c.hash == session.id))
            if gone.rowcount:
                await self._record(connection, session.principal, "session.close", {"everywhere": False})
        self._forget()

    async def close_all(self, session: Session) -> int:
        """End every session of the same key or person, and their links; how many there were."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(table).where(table.c.subject == session.principal.id))
            if gone.rowcount:
                await self._record(connection, session.principal, "session.close", {"everywhere": True})
        self._forget()
        return int(gone.rowcount)

    async def sweep(self) -> int:
        """Delete what has expired; how many there were."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(table).where(table.c.expires <= self._clock.now()))
        return int(gone.rowcount)

    async def keep_swept(self) -> None:
        """`sweep` for as long as the server runs."""
        while True:
            try:
                await self.sweep()
            except MainspringError as error:
                _log.warning("sessions were not swept", error=error.message)
            await asyncio.sleep(SWEEP_S)

    def _forget(self) -> None:
        self._verified.clear()
        self._forgotten += 1

    async def _record(self, connection: AsyncConnection, who: Principal, action: str, detail: dict[str, Any]) -> None:
        audit = Audit(self._database, self._clock, who.id)
        await audit.record(connection, action, who.id, {"name": who.name, "project": who.project, **detail})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _csrf(secret: str) -> str:
    made = hmac.digest(secret.encode(errors="surrogatepass"), b"mainspring csrf", "sha256")
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _row(secret: str, kind: str, subject: str, created: float, expires: float) -> dict[str, Any]:
    of = {"hash": _digest(secret), "kind": kind, "subject": subject, "created": created, "expires": expires}
    return of | {"name": "", "project": "", "grants": "[]"}


def _encoded(grants: tuple[Grant, ...]) -> str:
    return msgspec.json.encode(grants).decode()


def _principal(row: RowMapping) -> Principal:
    grants = msgspec.json.decode(row["grants"], type=tuple[Grant, ...])
    return Principal(id=row["subject"], name=row["name"], project=row["project"], grants=grants)
