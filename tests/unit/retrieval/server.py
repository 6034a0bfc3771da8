"""A server that does nothing but index, to be killed: python -m tests.unit.retrieval.server HOME URL"""

import asyncio
import sys
from pathlib import Path

from mainspring.core import log
from mainspring.store import worker
from tests.unit.retrieval.installation import installation


async def main(home: Path, url: str) -> None:
    worker.LOOK_S, worker.BACKOFF_S = 0.05, 0.0
    async with installation(home, url, lease_s=0.5) as installed:
        print("ready", flush=True)
        await installed.worker().run()


if __name__ == "__main__":
    log.configure("error", terminal=False)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
