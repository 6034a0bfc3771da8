"""Files and long work: what keeps them, and what runs in this server for as long as it does."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mainspring.compute.local import launch_local
from mainspring.core.clock import SystemClock
from mainspring.core.config import Settings
from mainspring.core.errors import ModelNotFound
from mainspring.core.receipt import Weights
from mainspring.core.seams import Align, Embed, Generate
from mainspring.core.types import ModelVersion
from mainspring.models.catalog import Catalog
from mainspring.models.weights import why_not
from mainspring.wiring.running import running

if TYPE_CHECKING:
    from mainspring.api.services import Stateful, Training
    from mainspring.compute.sandbox import Sandbox
    from mainspring.governance.directory import Directory
    from mainspring.responses.tools import Kind
    from mainspring.store.db import Database
    from mainspring.store.files import Files
    from mainspring.store.uploads import Uploads
    from mainspring.webhooks.hooks import Webhooks

__all__ = ["files", "responses", "sandbox", "training", "webhooks"]


async def files(settings: Settings, database: "Database", stack: AsyncExitStack) -> "tuple[Files, Uploads]":
    """What is uploaded, whole and in parts, and the loop that removes what has expired, running until the stack is
    closed."""
    from mainspring.store.blobs import open_blobs
    from mainspring.store.files import Files
    from mainspring.store.references import keep_swept
    from mainspring.store.uploads import Uploads

    clock, blobs = SystemClock(), open_blobs(settings.home, settings.blobs)
    await asyncio.to_thread(blobs.clean)
    kept = Files(database, blobs, clock)
    uploads = Uploads(database, kept, clock, max_bytes=settings.server.max_upload_bytes)
    stack.enter_context(running(keep_swept(kept.sweep, uploads.sweep)))
    return kept, uploads


async def training(
    settings: Settings,
    directory: "Directory",
    database: "Database",
    files: "Files",
    *,
    generate: Generate,
    embed: Embed,
    trainer: str,
    stack: AsyncExitStack,
) -> "Training":
    """Fine-tuning, and the loop that starts its processes, running until the stack is closed."""
    from mainspring.api.services import Training
    from mainspring.train.asking import Operator
    from mainspring.train.jobs import FineTuning
    from mainspring.train.runner import Runner
    from mainspring.train.sharing import Sharing

    clock, catalog = SystemClock(), Catalog(settings.home / "models")

    def find(name: str, project: str) -> ModelVersion:
        """A deployment of the project, or a model of the catalog that it may use."""
        snapshot = directory.snapshot
        deployed = snapshot.deployments.get((project, name))
        version = catalog.get(deployed.served_as if deployed else name)
        if not snapshot.lets(project, version.name, version.project):
            raise ModelNotFound(f"The model {name[:200]!r} does not exist.")
        return version

    def embedding(project: str) -> str | None:
        return next((each.id for each in directory.list(project) if each.kind == "embedding"), None)

    operator = None
    if hasattr(asyncio, "start_unix_server"):
        operator = Operator(generate, embed, embedding)
        await operator.start()
        stack.push_async_callback(operator.stop)
    runner = Runner(
        database, clock, launch_local, settings.training, home=settings.home, url=settings.database, trainer=trainer,
        operator=operator, blobs=settings.blobs,
    )  # fmt: skip
    # Looked for and not imported: this process never needs it.
    lacks = next((name for name in ("torch", "transformers", "peft") if find_spec(name) is None), "")
    jobs = FineTuning(
        database, clock, files, find=find, deployed=directory.find, settings=settings.training, changed=runner.poke,
        lacks="" if trainer else lacks,
    )  # fmt: skip
    stack.enter_context(running(runner.run()))
    stack.push_async_callback(runner.stop)
    return Training(jobs=jobs, sharing=Sharing(database, clock))


async def responses(
    settings: Settings, database: "Database", generate: Generate, *, kinds: "Mapping[str, Kind]", align: Align,
    stack: AsyncExitStack,
) -> "Stateful":  # fmt: skip
    """Responses and conversations, the work on those in the background, and the loop that forgets what has expired, all
    running until the stack is closed."""
    from mainspring.api.services import Stateful
    from mainspring.responses.background import Background
    from mainspring.responses.bell import Bell
    from mainspring.responses.chats import Chats
    from mainspring.responses.conversations import Conversations
    from mainspring.responses.personal import PersonalInstructions
    from mainspring.responses.presets import Presets
    from mainspring.responses.receipts import Receipts
    from mainspring.responses.service import KIND, OPEN, Responses
    from mainspring.responses.transfer import Transfer
    from mainspring.store.worker import Worker

    clock, bell, wanted = SystemClock(), Bell(), settings.responses
    background = Background(database, clock, generate, kinds, bell, align=align)
    worker = Worker(
        database, clock, KIND, OPEN, background.work, give_up=background.give_up, concurrent=wanted.concurrent,
        lease_s=wanted.lease_s,
    )  # fmt: skip
    made = Responses(
        database, clock, kinds, retention_s=wanted.retention_days * 86_400, per_project=wanted.per_project, bell=bell,
        queued=worker.poke, align=align,
    )  # fmt: skip
    stack.enter_context(running(made.keep_swept()))
    stack.enter_context(running(worker.run()))
    stack.push_async_callback(worker.stop)
    conversations, chats = Conversations(database, clock), Chats(database, clock, made)
    stack.enter_context(running(chats.keep_swept()))
    catalog = Catalog(settings.home / "models")

    async def check(weights: Weights) -> str | None:
        return await asyncio.to_thread(why_not, catalog, weights)

    return Stateful(
        responses=made, conversations=conversations, chats=chats, transfer=Transfer(database, clock),
        presets=Presets(database, clock), personal=PersonalInstructions(database, clock),
        receipts=Receipts(database, clock, check),
    )  # fmt: skip


def sandbox(settings: Settings) -> "Sandbox":
    """Starts nothing before its first run."""
    from mainspring.compute.sandbox import Sandbox, SandboxLimits

    wanted = settings.sandbox
    limits = SandboxLimits(
        wall_s=wanted.time_s, cpu_s=wanted.time_s, memory_bytes=wanted.memory_bytes, disk_bytes=wanted.disk_bytes
    )
    return Sandbox(limits=limits, concurrency=wanted.concurrency, weak=wanted.weak, hidden=(settings.home,))


def webhooks(settings: Settings, database: "Database", stack: AsyncExitStack) -> "Webhooks":
    """Who is told what happens, and the loop that tells them, running until the stack is closed."""
    from mainspring.governance.secret import installation_secret
    from mainspring.webhooks.courier import Courier
    from mainspring.webhooks.endpoints import Endpoints
    from mainspring.webhooks.hooks import Webhooks
    from mainspring.webhooks.sending import Sender

    clock, wanted = SystemClock(), settings.webhooks
    endpoints = Endpoints(database, clock, wanted, installation_secret(settings.home, settings.secret))
    send = Sender(allow_networks=wanted.allow_networks, timeout_s=wanted.timeout_s)
    courier = Courier(database, clock, endpoints, send, wanted)
    stack.enter_context(running(courier.run()))
    stack.push_async_callback(courier.stop)
    return Webhooks(endpoints=endpoints, courier=courier, database=database, clock=clock)
