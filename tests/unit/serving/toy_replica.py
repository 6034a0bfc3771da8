"""A replica process without weights: `engine.process` around `ToyBackend`. Run as a module by the tests."""

import json
import sys
import threading
import time
from pathlib import Path

from mainspring.engine.child import end_with_parent
from mainspring.engine.loop import Engine
from mainspring.engine.process import Replica
from mainspring.engine.scheduler import SchedulerConfig
from mainspring.engine.toy import ToyBackend


class SlowBackend(ToyBackend):
    """Takes a moment for each step, so that a test can act while something is under way."""

    def decode(self, batch):
        time.sleep(0.002)
        return super().decode(batch)


if __name__ == "__main__":
    spec = json.loads(sys.stdin.buffer.readline())
    if Path(spec["model"] + ".broken").exists():
        raise SystemExit(3)
    threading.Thread(target=end_with_parent, daemon=True).start()
    backend = SlowBackend(num_cells=4096, num_slots=24, context_length=2000)
    engine = Engine(backend, SchedulerConfig(), time.monotonic, hot_tokens=64)
    Replica(backend, engine, spec["endpoint"]).run()
