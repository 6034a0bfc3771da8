"""A governed server over the fake in a process of its own, which a test may kill: prints its URL and an admin's key."""

import json
import sys
import time
from pathlib import Path

from mainspring.core import log
from tests.contract.target import governed

if __name__ == "__main__":
    log.configure("error", terminal=False)
    with governed(Path(sys.argv[1])) as target:
        sys.stdout.write(json.dumps({"base_url": target.base_url, "key": target.key}) + "\n")
        sys.stdout.flush()
        time.sleep(3600)  # until it is killed
