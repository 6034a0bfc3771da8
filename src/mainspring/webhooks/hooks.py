"""What the API calls: endpoints, and what they were told."""

from dataclasses import dataclass

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest
from mainspring.store.db import Database
from mainspring.webhooks import deliveries
from mainspring.webhooks.courier import Courier
from mainspring.webhooks.deliveries import Delivery, Status
from mainspring.webhooks.endpoints import Endpoints, endpoint_in
from mainspring.webhooks.events import sample_of

__all__ = ["Webhooks"]


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """The webhooks of one installation. Everything here raises NotFound for an endpoint that is not the project's."""

    endpoints: Endpoints
    courier: Courier
    database: Database
    clock: Clock

    async def test(self, project: str, endpoint: str, type: str) -> int:  # noqa: A002 - the event's own word
        """Send an event that has not happened, once and at once; the status of the answer.

        Raises:
            InvalidRequest: there was no answer.
        """
        found = await self.endpoints.get(project, endpoint)
        event = sample_of(type, project, self.clock.now())
        outcome = await self.courier.send(found, event, event.id.replace("evt_", "wh_"))
        if outcome.status_code is None:
            raise InvalidRequest(
                f"The endpoint did not answer: {outcome.error}.",
                code="webhook_not_reached",
                param="webhook_endpoint_id",
            )
        return outcome.status_code

    async def deliveries(
        self, project: str, endpoint: str, *, status: Status | None = None, after: str | None = None, limit: int = 20
    ) -> tuple[list[Delivery], bool]:
        """What an endpoint was or is to be told, newest first, and whether there is more.

        Raises:
            InvalidRequest: `after` is no delivery to it.
        """
        async with self.database.read() as connection:
            await endpoint_in(connection, project, endpoint)
            return await deliveries.list_deliveries(connection, endpoint, status=status, after=after, limit=limit)

    async def delivery(self, project: str, endpoint: str, id: str) -> Delivery:  # noqa: A002 - what the API calls it
        """One of them. Raises NotFound."""
        async with self.database.read() as connection:
            await endpoint_in(connection, project, endpoint)
            return await deliveries.delivery_in(connection, endpoint, id)

    async def replay(self, project: str, endpoint: str, id: str) -> Delivery:  # noqa: A002 - see above
        """Send one of them again; it is pending then. Raises NotFound."""
        async with self.database.write() as connection:
            await endpoint_in(connection, project, endpoint)
            await deliveries.delivery_in(connection, endpoint, id)
            await deliveries.replay(connection, [id], self.clock.now())
            found = await deliveries.delivery_in(connection, endpoint, id)
        self.courier.poke()
        return found

    async def replay_since(self, project: str, endpoint: str, since_s: float, *, only_undelivered: bool = False) -> int:
        """Send all that has happened since a time; how many events. Raises InvalidRequest: they are too many."""
        async with self.database.write() as connection:
            found = await endpoint_in(connection, project, endpoint)
            count = await deliveries.replay_since(
                connection, found, since_s, self.clock.now(), only_undelivered=only_undelivered
            )
        self.courier.poke()
        return count
