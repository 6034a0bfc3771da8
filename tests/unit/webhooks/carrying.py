"""A process that carries deliveries until it is killed: python -m tests.unit.webhooks.carrying HOME [DATABASE URL]."""

import asyncio
import sys
from pathlib import Path

from mainspring.core.clock import SystemClock
from mainspring.core.config_webhooks import WebhookSettings
from mainspring.store.db import Database
from mainspring.webhooks import backoff, courier
from mainspring.webhooks.courier import Courier
from mainspring.webhooks.endpoints import Endpoints
from mainspring.webhooks.sending import Sender

SETTINGS = WebhookSettings(
    allow_http=True, allow_networks=("127.0.0.0/8",), timeout_s=0.5, concurrent=8, concurrent_per_endpoint=8
)  # type: ignore[call-arg]
SECRET = b"secret"


async def main(home: Path, url: str) -> None:
    courier.LOOK_S, courier.MARGIN_S, backoff.BASE_S, backoff.FACTOR = 0.02, 0.3, 0.05, 1.0
    database, clock = await Database.open(home, url), SystemClock()
    endpoints = Endpoints(database, clock, SETTINGS, SECRET)
    send = Sender(allow_networks=SETTINGS.allow_networks, timeout_s=SETTINGS.timeout_s)
    await Courier(database, clock, endpoints, send, SETTINGS).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
