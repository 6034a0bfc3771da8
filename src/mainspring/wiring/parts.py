"""What the edge is given: models with governance around them, and the work that a server does beside."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mainspring.core.clock import SystemClock
from mainspring.core.config import FilterSettings, Settings
from mainspring.core.seams import Count, Embed, Generate, Models
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest, ModelVersion
from mainspring.models.catalog import Catalog
from mainspring.serving.autoscale import Wanted
from mainspring.serving.replicas import Status
from mainspring.wiring import evals as evaluating
from mainspring.wiring import retrieval, tools, work
from mainspring.wiring.batches import batches as make_batches
from mainspring.wiring.running import running

if TYPE_CHECKING:
    from mainspring.api.services import Services
    from mainspring.compute.sandbox import Sandbox
    from mainspring.governance.control import Control
    from mainspring.governance.directory import Directory, Need
    from mainspring.governance.filters.personal import PersonalData
    from mainspring.governance.meter import Meter
    from mainspring.governance.screening import Screening
    from mainspring.store.db import Database
    from mainspring.store.files import Files

__all__ = ["Served", "governed"]


class Served(Models, Protocol):
    """What governance is put around: `Router` in a server, a fake in tests."""

    @property
    def ready(self) -> bool:
        """Whether requests can be served now."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`."""
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`."""
        ...

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """What deployments need of the models, by name."""
        ...

    def status(self, name: str) -> Status:
        """How a model is, and why."""
        ...


@asynccontextmanager
async def governed(settings: Settings, served: Served, trainer: str = "") -> "AsyncGenerator[tuple[Services, Control]]":
    """What the edge is given: `served` with governance around it. The data directory is there; all is closed again.

    Args:
        trainer: a module that trains in the place of ours; tests have one.
    """
    from mainspring.api.services import Services
    from mainspring.api.tracing import Tracing
    from mainspring.governance.sign_in import opened_sign_in
    from mainspring.governance.stack import Stack
    from mainspring.governance.tokens import credentials, opened
    from mainspring.store.db import Database

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        tracing = Tracing(settings.tracing) if settings.tracing.endpoint else None
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        database = await Database.open(settings.home, settings.database)
        stack.push_async_callback(database.close)
        tokens = await stack.enter_async_context(opened(settings.identity, clock))
        sign_in = await stack.enter_async_context(opened_sign_in(settings.identity, clock, tokens))
        control = await _control(settings, served, database, stack)
        directory = control.directory
        meter = await _meter(settings, served, control, database, stack)
        files, uploads = await work.files(settings, database, stack)
        sandbox = await stack.enter_async_context(work.sandbox(settings))
        wrappers = Stack(find=directory.target, meter=meter, screening=await _screening(settings, directory))
        generate, embed = wrappers.generate(served.generate), wrappers.embed(served.embed)
        made = Made(
            settings=settings, database=database, control=control, files=files, generate=generate, embed=embed,
            sandbox=sandbox, stack=stack, counting=meter.count,
        )  # fmt: skip
        services = Services(
            generate=generate, embed=embed, run_code=sandbox.run, files=files, uploads=uploads, models=directory,
            replicas=served, control=control, sessions=control.sessions, sign_in=sign_in,
            **await _stateful(made, trainer),
            rate=meter.rate, count=meter.count, sums=control.reports.sums,
            authenticate=credentials(control.keys.authenticate, tokens and tokens.authenticate),
            ready=lambda: served.ready, clock=clock, region=settings.region, tracing=tracing,
            provisioned=lambda: [
                (*names, meter.utilisation(*names))
                for names, each in directory.snapshot.deployments.items()
                if each.kind == "provisioned"
            ],
            max_body_bytes=settings.server.max_body_bytes, max_file_bytes=settings.server.max_file_bytes,
            request_timeout_s=settings.server.request_timeout_s, root_path=settings.server.root_path.rstrip("/"),
        )  # fmt: skip
        yield services, control


class Made(NamedTuple):
    """What the work beside requests is made of."""

    settings: Settings
    database: "Database"
    control: "Control"
    files: "Files"
    generate: Generate
    embed: Embed
    sandbox: "Sandbox"
    stack: AsyncExitStack
    counting: Count


async def _stateful(made: Made, trainer: str) -> dict[str, Any]:
    """The fields of `Services` for what is kept, and for the work that goes on beside requests."""
    from mainspring.api.inside import Inside

    settings, database, stack, files = made.settings, made.database, made.stack, made.files
    asks: dict[str, Any] = {"generate": made.generate, "embed": made.embed, "stack": stack}
    inside, directory = Inside(), made.control.directory
    stores = await retrieval.vector_stores(settings, database, files, directory, **asks)
    containers = tools.containers(settings, database, stack, made.counting)
    kinds = tools.server_tools(
        settings, search=stores.search, sandbox=made.sandbox, containers=containers, files=files, count=made.counting
    )
    chats = evaluating.stored_chats(settings, database, stack)
    return {
        "webhooks": work.webhooks(settings, database, stack),
        "inside": inside,
        "batches": make_batches(settings, made.control, database, files, call=inside, stack=stack),
        "training": await work.training(settings, directory, database, files, trainer=trainer, **asks),
        "stored_chats": chats,
        "evals": evaluating.evals(
            settings, database, files, chats, made.control, run_code=made.sandbox.run, **asks
        ),
        "vector_stores": stores,
        "containers": containers,
        "responses": await work.responses(
            settings, database, made.generate, kinds=kinds, align=stores.align, stack=stack
        ),
    }  # fmt: skip


async def _control(settings: Settings, served: Served, database: "Database", stack: AsyncExitStack) -> "Control":
    """What is wanted, and the loop that makes it so, running until the stack is closed."""
    from mainspring.governance.audit import Audit
    from mainspring.governance.control import Control
    from mainspring.governance.directory import Directory
    from mainspring.governance.keys import Keys
    from mainspring.governance.owned import OwnedModels
    from mainspring.governance.policies import Policies
    from mainspring.governance.projects import Projects
    from mainspring.governance.secret import installation_secret
    from mainspring.governance.service_accounts import ServiceAccounts
    from mainspring.governance.sessions import Sessions
    from mainspring.governance.usage import Reports

    clock, catalog = SystemClock(), Catalog(settings.home / "models")
    keys = Keys(database, clock)
    directory = Directory(
        database, clock, served, versions=lambda name: _versions(catalog, name),
        need=lambda needs: served.want({name: _wanted(need, settings) for name, need in needs.items()}),
    )  # fmt: skip
    projects = Projects(
        database, clock, keys, find=catalog.get, secret=installation_secret(settings.home, settings.secret),
        units=settings.quota_units, changed=directory.poke,
    )  # fmt: skip
    stack.push_async_callback(directory.stop)
    await directory.start(projects)
    sessions = Sessions(
        database, clock, keys, session_s=settings.server.session_s, oidc_session_s=settings.identity.session_s
    )
    stack.enter_context(running(sessions.keep_swept()))
    return Control(
        projects=projects, policies=Policies(database, clock, changed=directory.poke), keys=keys, sessions=sessions,
        service_accounts=ServiceAccounts(database, clock, keys),
        audit=Audit(database, clock, "server"), reports=Reports(database), directory=directory,
        models=OwnedModels(
            database, clock, versions=catalog.list, remove=catalog.remove, changed=directory.poke
        ),
        versions=catalog.list, status=served.status,
    )  # fmt: skip


async def _meter(
    settings: Settings, served: Served, control: "Control", database: "Database", stack: AsyncExitStack
) -> "Meter":
    """Quotas and the ledger, which goes on moving until the stack is closed."""
    from mainspring.governance.allowance import Leases
    from mainspring.governance.ledger import Ledger
    from mainspring.governance.meter import Meter
    from mainspring.governance.quota import Quota

    clock, directory = SystemClock(), control.directory
    ledger = Ledger(database, settings.home / "ledger", clock)
    stack.push_async_callback(ledger.stop)
    await ledger.start()
    allowance = await stack.enter_async_context(Leases(database, clock)) if database.is_shared else None
    meter = Meter(
        account=control.keys.find, find=directory.target, project_limits=directory.limits, models=served,
        quota=Quota(clock, allowance), ledger=ledger, prices=settings.metering.prices, clock=clock,
    )  # fmt: skip
    await meter.restore(control.reports)
    stack.enter_context(running(meter.keep_restored(control.reports)))
    return meter


async def _screening(settings: Settings, directory: "Directory") -> "Screening":
    from mainspring.governance.filters.classifier import bundled
    from mainspring.governance.filters.protected import Index
    from mainspring.governance.screening import Screening

    wanted = settings.filters
    policy = "" if wanted.policy == "none" else wanted.policy
    if policy:  # while the models load; the first request does not wait for it
        await asyncio.to_thread(bundled().load)
    index = Index(wanted.protected) if wanted.protected else None
    return Screening(
        directory.target, lambda: directory.snapshot, default=policy, index=index, personal=await _personal(wanted)
    )


async def _personal(wanted: FilterSettings) -> "PersonalData":
    from mainspring.governance.filters import personal

    if wanted.personal == "builtin":
        return personal.FORMS
    from mainspring.governance.filters import presidio  # only here: it is an optional library, and takes seconds

    return await asyncio.to_thread(
        presidio.load, wanted.presidio_model, language=wanted.presidio_language,
        threshold=wanted.presidio_threshold, also=wanted.presidio_also,
    )  # fmt: skip


def _wanted(need: "Need", settings: Settings) -> Wanted:
    """The replicas that so much capacity takes. What is provisioned is always loaded, the rest when it is used."""
    most, each = settings.serving.max_replicas, settings.serving.replica_units
    at_least = min(-(-need.provisioned // each) if each else int(need.provisioned > 0), most)
    at_most = min(-(-need.units // each), most) if each else most
    return Wanted(min_replicas=at_least, max_replicas=max(at_most, at_least, 1))


def _versions(catalog: Catalog, name: str) -> list[ModelVersion]:
    return [version for version in catalog.list() if version.name == name]
