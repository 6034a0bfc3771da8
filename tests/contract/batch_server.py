"""A governed server over a slow fake in a process of its own, which a test may kill: prints its URL and an admin's key.

python -m tests.contract.batch_server HOME SECONDS_OF_A_REQUEST DATABASE_URL
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from mainspring.core import log
from mainspring.core.config_batches import BatchSettings
from mainspring.core.types import Event, GenerateRequest
from tests.contract import target

DELAY_S = 0.0


class Slow(target.Served):
    """Every request takes a while."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        async with contextlib.aclosing(super().generate(request)) as events:
            async for event in events:
                yield event
                await asyncio.sleep(DELAY_S / 6)  # an answer of five tokens, and its end


if __name__ == "__main__":
    log.configure("error", terminal=False)
    DELAY_S = float(sys.argv[2])
    target.Served = Slow
    with target.governed(Path(sys.argv[1]), batches=BatchSettings(lease_s=1.0), database=sys.argv[3]) as served:
        sys.stdout.write(json.dumps({"base_url": served.base_url, "key": served.key}) + "\n")
        sys.stdout.flush()
        time.sleep(3600)  # until it is killed
