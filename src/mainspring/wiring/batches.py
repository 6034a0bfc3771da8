"""Batches: what keeps them, and the workers that run in this server for as long as it does."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from mainspring.core.clock import SystemClock
from mainspring.core.config import Settings
from mainspring.core.errors import Unavailable
from mainspring.core.seams import Call
from mainspring.wiring.running import running

if TYPE_CHECKING:
    from mainspring.batches.batches import Batches
    from mainspring.governance.control import Control
    from mainspring.store.db import Database
    from mainspring.store.files import Files

__all__ = ["batches"]


def batches(
    settings: Settings, control: "Control", database: "Database", files: "Files", *, call: Call, stack: AsyncExitStack
) -> "Batches":
    """Batches, and their workers, running until the stack is closed."""
    from mainspring.batches.batches import Batches
    from mainspring.batches.runner import Runner

    clock, directory = SystemClock(), control.directory

    def enqueued(project: str, name: str) -> int | None:
        deployment = directory.snapshot.deployments.get((project, name))
        return deployment.enqueued_tokens if deployment is not None and deployment.kind == "batch" else None

    async def stands(key: str) -> bool:
        """Whoever came with a token, or with a project's own key, has no row; their rights are those of then."""
        try:
            found = await control.keys.recall(key)
        except Unavailable:
            return True
        return found is None or found.state(clock.now()) == "active"

    runner = Runner(
        database, clock, files, call=call, deployments=directory, settings=settings.batches, enqueued=enqueued,
        stands=stands,
    )  # fmt: skip
    stack.enter_context(running(runner.run()))
    stack.push_async_callback(runner.stop)
    return Batches(database, clock, files, call, settings.batches, changed=runner.changed)
