"""Stored chats, and evaluations with what works on their runs, for as long as the server runs."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from mainspring.core.clock import SystemClock
from mainspring.core.config import Settings
from mainspring.core.errors import Unauthorized
from mainspring.core.seams import Embed, Generate, RunCode
from mainspring.wiring.running import running

if TYPE_CHECKING:
    from mainspring.evals.evals import Evals
    from mainspring.governance.control import Control
    from mainspring.graders.seams import Seams
    from mainspring.store.db import Database
    from mainspring.store.files import Files
    from mainspring.store.stored_chats import StoredChats

__all__ = ["evals", "stored_chats"]

DEADLINE_S = 3600.0
"""Of a question of a run: it gives way to everything else."""


def stored_chats(settings: Settings, database: "Database", stack: AsyncExitStack) -> "StoredChats":
    """Chats that are stored, and the loop that removes what has expired."""
    from mainspring.store.stored_chats import StoredChats

    chats = StoredChats(database, SystemClock(), settings.stored_chats.retention_s)
    stack.push_async_callback(chats.settled)
    stack.enter_context(running(chats.keep_swept()))
    return chats


def evals(
    settings: Settings, database: "Database", files: "Files", chats: "StoredChats", control: "Control", *,
    generate: Generate, embed: Embed, run_code: RunCode, stack: AsyncExitStack,
) -> "Evals":  # fmt: skip
    """Evaluations, and the worker on their runs. Models are asked through all of governance, as a run's creator."""
    from mainspring.evals.again import waiting, waiting_embed
    from mainspring.evals.evals import Evals, fair
    from mainspring.evals.runner import Runner
    from mainspring.evals.spec import ACTIVE
    from mainspring.graders.seams import Seams, embedding_of
    from mainspring.store.evals import RUN
    from mainspring.store.worker import Worker

    clock, wanted, models = SystemClock(), settings.evals, control.directory
    patient, patient_embed = waiting(generate, clock), waiting_embed(embed, clock)

    def seams(project: str, creator: str) -> "Seams":
        return Seams(
            generate=patient, embed=patient_embed, embedding=embedding_of(models, project), run=run_code,
            tenant=creator, project=project, deadline_s=DEADLINE_S, tier="flex",
        )  # fmt: skip

    async def admit(creator: str) -> None:
        """Who came with a token has no key, and is taken at their word until the run has ended."""
        key = await control.keys.recall(creator)  # from here on its limits are known here, after a restart too
        if key is not None and key.state(clock.now()) != "active":
            raise Unauthorized("The key that made this run has been revoked, or has expired.")

    runner = Runner(
        database, clock, files, seams=seams, admit=admit, concurrent=wanted.items, max_items=wanted.max_items
    )
    worker = Worker(
        database, clock, RUN, ACTIVE, runner.work, give_up=runner.give_up, concurrent=wanted.concurrent, choose=fair,
        lease_s=wanted.lease_s,
    )  # fmt: skip
    stack.enter_context(running(worker.run()))
    stack.push_async_callback(worker.stop)
    return Evals(database, clock, files, chats, models, seams=seams, settings=wanted, changed=worker.poke)
