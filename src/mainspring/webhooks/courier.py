"""What carries deliveries, in every server: claims what is due, sends it, notes what became of it."""

import asyncio
import contextlib
import random
from collections.abc import Callable

from mainspring.core import log
from mainspring.core.clock import Clock
from mainspring.core.config_webhooks import WebhookSettings
from mainspring.core.errors import Conflict, MainspringError
from mainspring.store.db import Database
from mainspring.webhooks import deliveries
from mainspring.webhooks.backoff import next_try
from mainspring.webhooks.deliveries import Claim
from mainspring.webhooks.endpoints import Endpoint, Endpoints
from mainspring.webhooks.events import Event, body_of
from mainspring.webhooks.sending import Outcome, Send
from mainspring.webhooks.signing import signed

__all__ = ["LOOK_S", "Courier"]

LOOK_S = 1.0
SWEEP_S = 60.0
MARGIN_S = 15.0
"""How much longer a claim lasts than sending may take: to write down what became of it, and for clocks that differ."""
STOP_S = 3.0
"""How long a stop waits for what is on its way. What was not answered then is sent again, under the same id."""
_log = log.get("mainspring.webhooks")


class Courier:
    """The deliveries of one server. Any number of servers carry those of one database.

    Args:
        draw: a number from 0 to 1, for `next_try`.
    """

    def __init__(
        self, database: Database, clock: Clock, endpoints: Endpoints, send: Send, settings: WebhookSettings, *,
        draw: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._database, self._clock, self._endpoints, self._send = database, clock, endpoints, send
        self._settings, self._draw = settings, draw
        self._running: set[asyncio.Task[None]] = set()
        self._poked = asyncio.Event()
        self._is_stopping = False

    def poke(self) -> None:
        """Look now: something is due."""
        self._poked.set()

    async def run(self) -> None:
        """Carry for as long as the server runs."""
        swept_s = float("-inf")
        while not self._is_stopping:
            self._poked.clear()
            try:
                for claimed in await self.claim():
                    task = asyncio.create_task(self._carry(claimed))
                    self._running.add(task)
                    task.add_done_callback(self._over)
                if self._clock.monotonic() - swept_s > SWEEP_S:
                    await self.sweep()
                    swept_s = self._clock.monotonic()
            except MainspringError as error:
                _log.warning("deliveries were not looked for", error=error.message)
            except Exception:  # noqa: BLE001 - one bad row must not end all deliveries
                _log.exception("looking for deliveries failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), LOOK_S)

    async def stop(self) -> None:
        """Claim nothing more; wait a little for what is on its way."""
        self._is_stopping = True
        self.poke()
        if self._running:
            await asyncio.wait(list(self._running), timeout=STOP_S)
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def claim(self) -> list[Claim]:
        """What this server is to send now. Raises Unavailable."""
        now_s, wanted = self._clock.now(), self._settings
        most = wanted.concurrent - len(self._running)
        if most <= 0:
            return []
        async with self._database.read() as connection:
            if not await deliveries.has_due(connection, now_s, wanted.retry_s):
                return []
        async with self._database.write() as connection:
            return await deliveries.claim(
                connection, self._clock.now(), most=most, per_endpoint=wanted.concurrent_per_endpoint,
                lease_s=wanted.timeout_s + MARGIN_S, retry_s=wanted.retry_s,
            )  # fmt: skip

    async def send(self, endpoint: Endpoint, event: Event, message: str) -> Outcome:
        """Tell an endpoint of an event, once.

        Args:
            message: the id that tells one delivery from another.
        """
        body = body_of(event)
        try:
            headers = signed(self._endpoints.secrets(endpoint), message, body, self._clock.now())
        except Conflict as error:
            return Outcome(error=error.message)
        return await self._send(endpoint.url, headers, body)

    async def note(self, claimed: Claim, outcome: Outcome) -> None:
        """Write down what became of an attempt. Raises Unavailable."""
        now_s = self._clock.now()
        again_s = next_try(
            claimed.tries, since_s=claimed.since, now_s=now_s, retry_s=self._settings.retry_s, draw=self._draw(),
            retry_after_s=outcome.retry_after_s,
        )  # fmt: skip
        async with self._database.write() as connection:
            await deliveries.note(connection, claimed, outcome, now_s=now_s, again_s=again_s)

    async def sweep(self) -> None:
        """Give up what nobody could send, and forget what is old. Raises Unavailable."""
        now_s = self._clock.now()
        async with self._database.write() as connection:
            await deliveries.expire(connection, now_s, self._settings.retry_s)
            await deliveries.sweep(connection, now_s, max(self._settings.keep_s, self._settings.retry_s))

    async def _carry(self, claimed: Claim) -> None:
        if self._clock.now() > claimed.until - self._settings.timeout_s:
            return  # the machine slept: there is no time left to send it before somebody else may
        outcome = await self.send(claimed.endpoint, claimed.event, claimed.id)
        while True:
            try:
                await self.note(claimed, outcome)
            except MainspringError as error:
                _log.warning("a delivery was not noted", delivery=claimed.id, error=error.message)
                if self._clock.now() > claimed.until:
                    return  # it is sent again
                await asyncio.sleep(LOOK_S)
            else:
                return

    def _over(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._poked.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a delivery broke off", error=str(error))
