"""Models that a job's process may ask, for graders: it has none of its own, and the server has.

The server listens at a Unix socket in a folder that only its user may enter; each job gets a word of its own to name
itself by. A question is one connection: a frame with the word and the request, a frame with the answer. What is asked
goes the way of everybody's requests, with the limits and in the ledger of whoever made the job; project, tenant and
tier are the server's to say. A connection that is closed early is a question that nobody wants answered any more.
"""

import asyncio
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mainspring.core import log
from mainspring.core.errors import InvalidRequest, MainspringError, RateLimited, Unavailable
from mainspring.core.seams import Embed, Generate
from mainspring.core.types import Embeddings, EmbedRequest, Event, GenerateRequest
from mainspring.engine.frames import Failure

__all__ = ["Asking", "Operator", "Who"]

MAX_FRAME = 2**24
TIER = "flex"
PATIENCE_S = 240.0
"""How long a job waits while a model is busy or away; after that the grader has failed."""
LEAST_WAIT_S = 0.5
ATTEMPTS_APART_S = 30.0
T = TypeVar("T")
_log = log.get("mainspring.train")


class Who(msgspec.Struct, frozen=True):
    """In whose name a job asks."""

    tenant: str
    project: str


class _Question(msgspec.Struct, frozen=True, array_like=True):
    word: str
    generate: GenerateRequest | None = None
    embed: EmbedRequest | None = None


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    events: list[Event] = []
    embeddings: Embeddings | None = None
    failure: Failure | None = None


_encode = msgspec.msgpack.Encoder().encode
_question = msgspec.msgpack.Decoder(_Question).decode
_answer = msgspec.msgpack.Decoder(_Answer).decode


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """What a job asks through: it has the shapes `Generate` and `Embed`. An answer comes as a whole.

    Args:
        path: of the socket.
        embedding: the deployment that makes vectors; None if the project has none.
    """

    path: str
    word: str
    embedding: str | None = None

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """See `core.seams.Generate`. It waits while the model is busy."""
        answer = await _patiently(lambda: self._ask(_Question(self.word, generate=request)))
        for event in answer.events:
            yield event

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """See `core.seams.Embed`."""
        answer = await _patiently(lambda: self._ask(_Question(self.word, embed=request)))
        assert answer.embeddings is not None
        return answer.embeddings

    async def _ask(self, question: _Question) -> _Answer:
        try:
            reader, writer = await asyncio.open_unix_connection(self.path)
        except OSError as error:
            raise Unavailable(f"The server cannot be asked ({error.strerror}).") from error
        try:
            await _write(writer, _encode(question))
            answer = _answer(await _read(reader))
        except (OSError, EOFError) as error:
            raise Unavailable("The server went away while it was asked.") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if answer.failure is not None:
            raise answer.failure.error()
        return answer


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_S
    while True:
        try:
            return await ask()
        except (RateLimited, Unavailable) as error:
            wait_s = min(max(error.retry_after_s or 0.0, LEAST_WAIT_S), ATTEMPTS_APART_S)
            if loop.time() + wait_s > until:
                raise
            await asyncio.sleep(wait_s)


class Operator:
    """The server's end.

    Args:
        generate, embed: governed.
        embedding: a project's deployment that makes vectors.
    """

    def __init__(
        self, generate: Generate, embed: Embed, embedding: Callable[[str], str | None] = lambda _: None
    ) -> None:
        self._generate, self._embed, self._embedding = generate, embed, embedding
        self._known: dict[str, Who] = {}
        self._folder = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._folder = tempfile.mkdtemp(prefix="mainspring-asks-")  # short: a socket's path has 107 bytes at most
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def stop(self) -> None:
        """Answer nothing more."""
        self._known.clear()
        if self._server is not None:
            self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _path(self) -> str:
        return str(Path(self._folder) / "ask")

    def admit(self, who: Who) -> Asking:
        """Let a job ask, until it is dismissed."""
        word = secrets.token_hex(16)
        self._known[word] = who
        return Asking(path=self._path, word=word, embedding=self._embedding(who.project))

    def dismiss(self, asking: Asking) -> None:
        """It has ended."""
        self._known.pop(asking.word, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question. Whoever leaves before its answer cancels it."""
        try:
            question = _question(await _read(reader))
            answer = asyncio.ensure_future(self._answer(question))
            left = asyncio.ensure_future(reader.read(1))
            await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
            for task in (answer, left):
                task.cancel()
            found, _ = await asyncio.gather(answer, left, return_exceptions=True)
            if isinstance(found, _Answer):
                await _write(writer, _encode(found))
        except (OSError, EOFError, msgspec.MsgspecError):
            _log.warning("a job's question broke off")
        finally:
            writer.close()

    async def _answer(self, question: _Question) -> _Answer:
        who = self._known.get(question.word)
        request = question.generate or question.embed
        if who is None or request is None:
            return _failed("", InvalidRequest("Nobody who may ask."))
        whose: dict[str, Any] = {"tenant": who.tenant, "project": who.project}
        try:
            if question.embed is not None:
                return _Answer(embeddings=await self._embed(msgspec.structs.replace(question.embed, **whose)))
            assert question.generate is not None
            mine = msgspec.structs.replace(question.generate, **whose, tier=TIER, streams=False)
            async with contextlib.aclosing(self._generate(mine)) as events:
                return _Answer(events=[event async for event in events])
        except MainspringError as error:
            return _failed(request.id, error)
        except Exception:  # noqa: BLE001 - the job gets an answer, and the log the reason
            _log.exception("a job's question failed")
            return _failed(request.id, MainspringError("The server failed to answer: its log says why."))


def _failed(id: str, error: MainspringError) -> _Answer:  # noqa: A002 - the request's
    return _Answer(failure=Failure.of(id, error))


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(len(frame).to_bytes(4, "big") + frame)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size > MAX_FRAME:
        raise EOFError
    return await reader.readexactly(size)
