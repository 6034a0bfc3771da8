"""The tool `code_interpreter`: the model's Python runs in the sandbox, with the files of a container.

Each call is a run of its own; what a session is made of, files and variables, is kept in the container between two of
them (`compute/inside/cell.py`). Files that code writes are cited where the answer names them.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from mainspring.compute.inside import cell
from mainspring.core.errors import InvalidRequest, MainspringError, NotFound
from mainspring.core.types import Ran, Tool
from mainspring.responses.items import ContainerFileCitation
from mainspring.responses.items_tools import CodeInterpreterCall, CodeInterpreterLogs
from mainspring.responses.sources import Shelf, Sources
from mainspring.responses.tools import Annotator, Call, Caller, Done, Kind, Opened, Preparation, Progress, Replay, Step
from mainspring.store.containers import MAX_BYTES, Container, Containers, path_of
from mainspring.store.files import Files

__all__ = ["RunCell", "Workshop", "code_interpreter", "files_of"]

RunCell = Callable[[str, Mapping[str, bytes], int], Awaitable[Ran]]
"""(code, files, bytes of memory) -> what came of it; as `compute.sandbox.Sandbox.run`."""

MAX_LOGS, MAX_TOLD = 64_000, 8_000
"""Characters of output that are kept, and that the model is told."""
DELTA = 64
"""Characters of code in an event."""
NO_CODE = 'The arguments are to be {"code": "..."}. Nothing was run.'

_FUNCTION = Tool(
    name="python",
    description="Runs Python 3 in a sandbox without network, and answers with its output and its last expression. "
    "Variables and files stay for later calls. Files are in /mnt/data, where code starts; write files for the user "
    "there, and name them in your answer.",
    parameters=msgspec.json.encode(
        {
            "type": "object",
            "properties": {"code": {"type": "string", "description": "Python source."}},
            "required": ["code"],
            "additionalProperties": False,
        }
    ).decode(),
    strict=True,
)


class _Auto(msgspec.Struct, frozen=True, kw_only=True):
    file_ids: list[str] = []
    memory_limit: str | None = None


class _Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a client has sent, as the edge has checked it."""

    container: str | _Auto


class Workshop(msgspec.Struct, frozen=True, kw_only=True):
    """What all interpreters share."""

    run: RunCell
    containers: Containers
    files: Files
    shelf: Shelf


def code_interpreter(workshop: Workshop) -> Kind:
    """The tool over a sandbox."""

    async def make(definition: Mapping[str, Any], caller: Caller) -> CodeInterpreter:
        given = msgspec.convert({"container": definition["container"]}, _Definition).container
        try:
            if isinstance(given, str):
                await workshop.containers.get(caller.project, given)
            else:
                workshop.containers.check_memory(given.memory_limit, "container.memory_limit")
                for each in given.file_ids:
                    await workshop.files.get(caller.project, each)
        except NotFound as error:
            where = "container" if isinstance(given, str) else "container.file_ids"
            raise InvalidRequest(error.message, param=where) from error
        return CodeInterpreter(given, caller, workshop)

    return Kind(make=make, items=frozenset({"code_interpreter_call"}), replay=_replay)


class CodeInterpreter:
    """See the module."""

    prefix = "ci_"
    functions = (_FUNCTION,)

    def __init__(self, given: str | _Auto, caller: Caller, workshop: Workshop) -> None:
        self._given, self._caller, self._workshop = given, caller, workshop
        self._last = given if isinstance(given, str) else ""
        self._sources: Sources = workshop.shelf.of(caller)
        self._reads = self._sources.join()

    def annotator(self, begun: str = "") -> Annotator | None:
        """What reads the next message."""
        return self._sources.annotator(begun) if self._reads else None

    def cites(self) -> Sequence[int]:
        """What was found by all tools."""
        return self._sources.numbers() if self._reads else ()

    async def begin(self, listed: Sequence[Mapping[str, Any]]) -> AsyncGenerator[Preparation]:  # noqa: ARG002
        """Nothing."""
        for each in tuple[Preparation, ...]():
            yield each

    def recall(self, item: Mapping[str, Any], kept: Mapping[str, Any]) -> None:  # noqa: ARG002 - the item has it
        """With "auto", code goes on in the container of the turns before, if that is still there."""
        if not isinstance(self._given, str):
            self._last = str(item["container_id"])

    async def run(self, call: Call) -> AsyncGenerator[Step]:
        """Run code."""
        code, container = _code(call.arguments), await self._container()
        item = CodeInterpreterCall(
            id=call.item, status="in_progress", container_id=container.id, code="", outputs=None
        )  # fmt: skip
        yield Opened(item)
        yield Progress("response.code_interpreter_call.in_progress")
        for at in range(0, len(code), DELTA):
            yield Progress("response.code_interpreter_call_code.delta", {"delta": code[at : at + DELTA]})
        yield Progress("response.code_interpreter_call_code.done", {"code": code})
        item = msgspec.structs.replace(item, code=code)
        if not code.strip():
            yield Done(msgspec.structs.replace(item, status="failed"), NO_CODE)
            return
        yield Progress("response.code_interpreter_call.interpreting")
        ran = await self._run(container, code)
        written, refused = await self._keep(container, ran)
        logs = _logs(ran, refused)
        yield Progress("response.code_interpreter_call.completed")
        outputs = [CodeInterpreterLogs(logs[:MAX_LOGS])] if logs else []
        status = "incomplete" if ran.ended else "completed"
        told = [*([_shortened(logs)] if logs else ()), *([f"Files written: {', '.join(written)}"] if written else ())]
        yield Done(
            msgspec.structs.replace(item, status=status, outputs=outputs), "\n".join(told) or "It ran, without output."
        )

    async def _container(self) -> Container:
        """The one that is asked for, or the last one, or a new one."""
        workshop, caller = self._workshop, self._caller
        if self._last:
            try:
                return await workshop.containers.get(caller.project, self._last)
            except NotFound:
                if isinstance(self._given, str):
                    raise
        assert isinstance(self._given, _Auto)
        files = await files_of(workshop.files, caller.project, self._given.file_ids)
        made = await workshop.containers.create(
            project=caller.project,
            by=caller.principal,
            name="auto",
            memory=self._given.memory_limit or "1g",
            files=files,
        )
        self._last = made.id
        return made

    async def _run(self, container: Container, code: str) -> Ran:
        files = await self._workshop.containers.load(container.project, container.id)
        code_and_files = {**files, cell.CELL: code.encode("utf-8", "replace")}
        return await self._workshop.run(_cell(), code_and_files, self._workshop.containers.memory_of(container))

    async def _keep(self, container: Container, ran: Ran) -> tuple[list[str], str]:
        """Keep what was written; the names of the files, or why none could be kept."""
        changed = {path: content for path, content in ran.files.items() if path != cell.CELL}
        try:
            made = await self._workshop.containers.save(container.project, container.id, changed, session=cell.SESSION)
        except MainspringError as error:
            return [], f"Nothing that it wrote was kept: {error.message}"
        for file in made:
            self._cite(file.id, file.path, container.id)
        return [file.path for file in made], ""

    def _cite(self, id: str, path: str, container: str) -> None:  # noqa: A002 - what it is
        name = path.rsplit("/", 1)[-1]

        def annotation(start: int, end: int) -> ContainerFileCitation:
            return ContainerFileCitation(container, id, name, start, end)

        self._sources.files[:] = [each for each in self._sources.files if each[0] != name]
        self._sources.files.append((name, annotation))


async def files_of(files: Files, project: str, ids: Sequence[str]) -> dict[str, bytes]:
    """Uploaded files as what a container begins with, by path.

    Raises:
        NotFound: one is not there.
        InvalidRequest: they are too large together.
    """
    found: dict[str, bytes] = {}
    room = MAX_BYTES
    for each in ids:
        file = await files.get(project, each)
        room -= file.bytes
        if room < 0:
            raise InvalidRequest(f"The files have more than {MAX_BYTES} bytes together.", param="file_ids")
        path = path_of(file.filename)
        found[path if path not in found else f"{each}-{path}"] = b"".join([piece async for piece in files.open(file)])
    return found


@cache
def _cell() -> str:
    return f"{Path(cell.__file__).read_text('utf-8')}\nmain()\n"


def _code(arguments: str) -> str:
    """The code of a call; nothing if the model wrote nonsense."""
    try:
        code: Any = msgspec.json.decode(arguments, type=dict[str, Any]).get("code")
    except msgspec.MsgspecError:
        return ""
    return code if isinstance(code, str) else ""


def _logs(ran: Ran, refused: str) -> str:
    texts = [ran.stdout.decode("utf-8", "replace"), ran.stderr.decode("utf-8", "replace"), refused]
    if ran.ended:
        texts.append(f"It was ended before its own end, by the limit of {ran.ended}.")
    return "\n".join(text.rstrip("\n") for text in texts if text)


def _shortened(logs: str) -> str:
    if len(logs) <= MAX_TOLD:
        return logs
    return f"{logs[: MAX_TOLD // 2]}\n... {len(logs) - MAX_TOLD} characters left out ...\n{logs[-MAX_TOLD // 2 :]}"


def _replay(item: Mapping[str, Any]) -> Replay:
    """Of an item that a client has sent."""
    logs = "\n".join(each.get("logs") or "" for each in item.get("outputs") or () if each["type"] == "logs")
    arguments = msgspec.json.encode({"code": item.get("code") or ""}).decode()
    return Replay(_FUNCTION.name, arguments, _shortened(logs) or "The output is no longer known.")
