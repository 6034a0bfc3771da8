"""One database and the servers that carry its deliveries, on a clock that tests move."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select

from mainspring.core.clock import FakeClock
from mainspring.core.config_webhooks import WebhookSettings
from mainspring.store.db import Database
from mainspring.store.outbox import announce
from mainspring.store.tables import outbox, webhook_attempts, webhook_deliveries, webhook_endpoints
from mainspring.webhooks import deliveries
from mainspring.webhooks.courier import MARGIN_S, Courier
from mainspring.webhooks.deliveries import Delivery
from mainspring.webhooks.endpoints import Endpoint, Endpoints
from mainspring.webhooks.hooks import Webhooks
from mainspring.webhooks.sending import Outcome

TYPES = ("batch.completed", "batch.failed")
TABLES = (webhook_attempts, webhook_deliveries, webhook_endpoints, outbox)
SETTINGS = WebhookSettings()  # type: ignore[call-arg]
LEASE_S = SETTINGS.timeout_s + MARGIN_S


class Installation:
    """One database and several servers; `outcomes` are what endpoints answer, in order, and success after that."""

    def __init__(self, database: Database, settings: WebhookSettings = SETTINGS) -> None:
        self.database, self.clock, self.settings = database, FakeClock(), settings
        self.endpoints = Endpoints(database, self.clock, settings, b"secret")
        self.outcomes: list[Outcome] = []
        self.told: list[tuple[str, str]] = []  # (webhook-id, body)
        self.courier = self.server()
        self.hooks = Webhooks(
            endpoints=self.endpoints, courier=self.courier, database=database, clock=self.clock
        )  # fmt: skip

    def server(self) -> Courier:
        return Courier(self.database, self.clock, self.endpoints, self._send, self.settings, draw=lambda: 0.5)

    async def _send(self, url: str, headers: Any, body: bytes) -> Outcome:
        assert headers["webhook-timestamp"] == str(int(self.clock.now()))
        self.told.append((headers["webhook-id"], body.decode()))
        return self.outcomes.pop(0) if self.outcomes else Outcome(status_code=200, duration_s=0.1)

    async def endpoint(self, project: str = "p", types: Sequence[str] = TYPES, **more: Any) -> Endpoint:
        made, _ = await self.endpoints.create(
            project, name="n", url="https://example.com/hook", event_types=types, **more
        )
        return made

    async def happens(self, object_id: str, kind: str = TYPES[0], project: str = "p") -> None:
        async with self.database.write() as connection:
            await announce(connection, project=project, type=kind, object=object_id, now_s=self.clock.now())

    async def step(self, courier: Courier | None = None) -> int:
        """Claim, send and note what is due; how many."""
        courier = courier or self.courier
        claimed = await courier.claim()
        for each in claimed:
            await courier.note(each, await courier.send(each.endpoint, each.event, each.id))
        return len(claimed)

    async def of(self, endpoint: Endpoint) -> list[Delivery]:
        async with self.database.read() as connection:
            return (await deliveries.list_deliveries(connection, endpoint.id, limit=10_000))[0]

    async def count(self, table: Any) -> int:
        async with self.database.read() as connection:
            return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def emptied(database: Database) -> Installation:
    """With nothing in it."""
    async with database.write() as connection:
        for table in TABLES:
            await connection.execute(delete(table))
    return Installation(database)
