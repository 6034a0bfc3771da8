"""A server that does nothing but run jobs, to be killed: python -m tests.unit.train.server HOME URL"""

import asyncio
import sys
from pathlib import Path

from mainspring.core import log
from tests.unit.train.installation import installation


async def main(home: Path, url: str) -> None:
    async with installation(home, url, lease_s=3.0) as installed:
        await installed.runner.run()


if __name__ == "__main__":
    log.configure("error", terminal=False)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
