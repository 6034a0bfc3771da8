"""What the contract tests run against: a base URL, a key and a model, whoever serves them.

Assertions must hold for a real model too; what only the fake can do (spells, counting) is asked of `engine`.
"""

import asyncio
import contextlib
import dataclasses
import json
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import uvicorn
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from mainspring import wiring
from mainspring.api.app import App, Services, create_app
from mainspring.api.tracing import Tracing
from mainspring.core.clock import SystemClock
from mainspring.core.config import MeteringSettings, Price, Settings
from mainspring.core.errors import Unauthorized, Unavailable
from mainspring.core.types import (
    Embeddings,
    EmbedRequest,
    Event,
    FileRef,
    GenerateRequest,
    Grant,
    Limits,
    ModelInfo,
    ModelVersion,
    Principal,
)
from mainspring.engine.fake import FakeEmbedder, FakeEngine
from mainspring.governance.control import Control
from mainspring.governance.tokens import Authenticate, credentials
from mainspring.models.catalog import Catalog
from mainspring.serving.autoscale import Wanted
from mainspring.serving.replicas import Status

T = TypeVar("T")

KEY = "sk-contract-tests"
API_VERSION = "2024-10-21"
DIALECTS = ("openai", "azure", "azure_v1")
STRICT: dict[str, Any] = {"max_retries": 0, "timeout": 120, "_strict_response_validation": True}


CLIENTS: list[tuple[str, OpenAI]] = []
"""With the server that each was made for, which closes it: a connection that nobody closed is a warning some time."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server. `base_url` has no path; `engine` is the fake behind it, if it is the fake."""

    base_url: str
    key: str
    model: str
    context_length: int
    engine: FakeEngine | None = None
    embedder: FakeEmbedder | None = None

    def http(self, key: str | None = None) -> httpx.Client:
        """A plain client, for what the official ones hide."""
        headers = {"api-key": self.key if key is None else key}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=120)

    def sdk(self, dialect: str, key: str | None = None, **options: Any) -> OpenAI:
        """An official client of the dialect."""
        options = {**STRICT, "api_key": key or self.key, **options}
        if dialect != "openai":  # strict as they are, they do not take Azure's own first chunk
            options["_strict_response_validation"] = False
        if dialect == "azure":
            client: OpenAI = AzureOpenAI(azure_endpoint=self.base_url, api_version=API_VERSION, **options)
        else:
            client = OpenAI(base_url=self.base_url + ("/v1" if dialect == "openai" else "/openai/v1/"), **options)
        CLIENTS.append((self.base_url, client))
        return client

    def async_sdk(self, dialect: str, **options: Any) -> AsyncOpenAI:
        """The same, asynchronous."""
        options = {**STRICT, "api_key": self.key, **options}
        if dialect != "openai":
            options["_strict_response_validation"] = False
        if dialect == "azure":
            return AsyncAzureOpenAI(azure_endpoint=self.base_url, api_version=API_VERSION, **options)
        return AsyncOpenAI(base_url=self.base_url + ("/v1" if dialect == "openai" else "/openai/v1/"), **options)

    def path(self, dialect: str, operation: str) -> str:
        """Where an inference operation ("chat/completions") of the dialect is."""
        if dialect == "azure":
            return f"/openai/deployments/{self.model}/{operation}?api-version={API_VERSION}"
        return f"{'/v1' if dialect == 'openai' else '/openai/v1'}/{operation}"

    def post(
        self, body: dict[str, Any], operation: str = "chat/completions", dialect: str = "openai"
    ) -> httpx.Response:
        """One request with plain HTTP, the model filled in."""
        with self.http() as client:
            return client.post(self.path(dialect, operation), json={"model": self.model, **body})

    def chat(self, text: str, **fields: Any) -> httpx.Response:
        """One chat with plain HTTP."""
        return self.post({"messages": [{"role": "user", "content": text}], **fields})


def events(response: httpx.Response, *, findings: bool = False) -> list[Any]:
    """The data of a stream's events, [DONE] as a string. Anything else between them is a failure.

    Args:
        findings: also the first chunks of Azure's dialects, which tell of the prompts and belong to no answer.
    """
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.split("\n\n")
    assert blocks.pop() == "", "the stream must end with an empty line"
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    data = [block.removeprefix("data: ") for block in blocks]
    found = [one if one == "[DONE]" else json.loads(one) for one in data]
    return [one for one in found if findings or one == "[DONE]" or "prompt_filter_results" not in one]


async def authenticate(key: str) -> Principal:
    """The one key of the tests: an administrator's, since they read the metrics too."""
    if key != KEY:
        raise Unauthorized("Incorrect API key provided.")
    return Principal(id="key-1", name="tests", grants=(Grant("admin"),))


def services(engine: FakeEngine, **changes: Any) -> Services:
    """The edge over the fake."""
    return Services(
        **{
            "generate": engine.generate,
            "models": engine,
            "replicas": engine,
            "authenticate": authenticate,
            "ready": lambda: True,
            "clock": SystemClock(),
            **changes,
        }
    )


@contextlib.contextmanager
def serve(app: Any) -> Generator[str]:
    """A real socket on a free port, in a thread with a loop of its own; yields the base URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    started = threading.Event()
    startup = server.startup

    async def announce(sockets: Any = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = announce  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert started.wait(20), "the server did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        for made in [made for made in CLIENTS if made[0] == f"http://127.0.0.1:{port}"]:
            made[1].close()
            CLIENTS.remove(made)
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


@contextlib.contextmanager
def fake_target(**changes: Any) -> Generator[Target]:
    """The edge over a fake of its own; `changes` are fields of Services."""
    engine = FakeEngine(("fake", "other/with slash"), places=16)
    with serve(create_app(services(engine, **changes))) as base_url:
        yield Target(base_url=base_url, key=KEY, model="fake", context_length=4096, engine=engine)


def in_catalog(
    home: Path, name: str, version: str, created: int = 1_700_000_000, kind: Any = "chat", **fields: Any
) -> ModelVersion:
    """A model version with nothing in it, for what only has to know that there is one."""
    file = FileRef(path="weights.gguf", bytes=0, sha256="0" * 64)
    found = ModelVersion(
        name=name, version=version, kind=kind, format="gguf", files=(file,), source=f"file:{name}-{version}",
        created=created, context_length=4096, **fields,
    )  # fmt: skip
    folder = Catalog(home / "models").folder(found)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(msgspec.json.encode(found))
    return found


class Served(FakeEngine):
    """The fake in the place of the router: `wiring.Served`. It also has every version of `catalog`, by name@version,
    and those that belong to a project by name. `states` says of some that they are not ready, or "gone": then requests
    fail."""

    ready = True

    def __init__(self, catalog: Catalog) -> None:
        self._embedder = FakeEmbedder()
        versions = [
            ModelInfo(
                id=name, version=each.version, created=each.created, context_length=4096, state="ready",
                project=each.project,
            )
            for each in catalog.list()
            for name in (each.id, each.name)[: 2 if each.project else 1]
        ]  # fmt: skip
        super().__init__(("fake",), others=(self._embedder.model, *versions))
        self.states: dict[str, str] = {}

    def find(self, name: str, project: str = "") -> ModelInfo:
        found = super().find(name, project)
        return msgspec.structs.replace(found, state=self.states.get(name, found.state))

    def list(self, project: str = "") -> Sequence[ModelInfo]:
        return [self.find(each.id) for each in super().list(project) if "@" not in each.id]

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        if self.states.get(request.model) == "gone":
            raise Unavailable("Its replica died.")
        async with contextlib.aclosing(super().generate(request)) as events:
            async for event in events:
                yield event

    async def embed(self, request: EmbedRequest) -> Embeddings:
        return await self._embedder.embed(request)

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        self.wanted = dict(wanted)

    def status(self, name: str) -> Status:
        return Status(self.find(name).state, "It is a fake.")


@dataclass(frozen=True, kw_only=True)
class GovernedTarget(Target):
    """A server with all of governance in a data directory. `key` is an administrator's."""

    home: Path
    control: Control
    loop: asyncio.AbstractEventLoop
    app: App
    services: Services
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the server's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def make_key(self, limits: Limits = Limits(), **more: Any) -> str:  # noqa: B008 - frozen
        """A user's key with these limits; its secret."""
        key, secret = self.run(
            self.control.keys.create(f"test-{secrets.token_hex(4)}", more.pop("role", "user"), limits=limits, **more)
        )
        self.ids[secret] = key.id
        return secret

    def key_id(self, secret: str) -> str:
        """The id of a key that was made here."""
        return self.ids[secret]


class Late:
    """An application that is made when the server's loop runs, inside of `around`."""

    def __init__(self, around: Callable[[], contextlib.AbstractAsyncContextManager[Any]]) -> None:
        self._around = around
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        self.stack = contextlib.AsyncExitStack()
        self._app = await self.stack.enter_async_context(self._around())
        await send({"type": "lifespan.startup.complete"})


@contextlib.contextmanager
def governed(
    home: Path, tokens: Authenticate | None = None, trainer: str = "mainspring.train.fake", **changes: Any
) -> Generator[GovernedTarget]:
    """The edge and governance over the fake, put together as in the product; a price of 1 for a million tokens of any
    kind. `changes` are settings; `trainer` is the module that trains."""
    engine = Served(Catalog(home / "models"))
    given = {"metering": MeteringSettings(prices={"*": Price(input=1, output=1)}), "home": home, **changes}
    settings, made = Settings(**given), dict[str, Any]()
    # A data directory that a killed server has left has that server's key, and names of keys are taken once.
    kept = (home / "mainspring.db").exists() or "database" in changes
    name = f"admin-{secrets.token_hex(4)}" if kept else "admin"

    @contextlib.asynccontextmanager
    async def around() -> AsyncGenerator[Any]:
        made["loop"] = asyncio.get_running_loop()
        async with wiring.governed(settings, engine, trainer) as (given, made["control"]):
            _, made["secret"] = await made["control"].keys.create(name, "admin")
            if tokens is not None:
                authenticate = credentials(made["control"].keys.authenticate, tokens)
                given = dataclasses.replace(given, authenticate=authenticate)
            made["app"], made["services"] = create_app(given), given
            yield made["app"]

    app = Late(around)
    with serve(app) as base_url:
        try:
            yield GovernedTarget(
                base_url=base_url, key=made["secret"], model="fake", context_length=4096, engine=engine, home=home,
                control=made["control"], loop=made["loop"], app=made["app"], services=made["services"],
            )  # fmt: skip
        finally:  # `serve` ends without a farewell
            asyncio.run_coroutine_threadsafe(app.stack.aclose(), made["loop"]).result(120)


@contextlib.contextmanager
def fake_embedding_target(tracing: Tracing | None = None, **changes: Any) -> Generator[Target]:
    """The edge over fakes of both seams; the chat model is called "fake". `changes` are the embedder's."""
    embedder = FakeEmbedder(**changes)
    engine = FakeEngine(("fake",), others=(embedder.model,))
    with serve(create_app(services(engine, embed=embedder.embed, tracing=tracing))) as base_url:
        yield Target(
            base_url=base_url, key=KEY, model=embedder.model.id, context_length=embedder.model.context_length,
            engine=engine, embedder=embedder,
        )  # fmt: skip
