"""The files that come out of a batch: made once, whatever is killed meanwhile.

A file's id follows from the batch's. Whoever finds a file of that id does not make it again; the rows that it is made
from do not change any more once its batch is about to end, and are deleted after the ids are in the batch.
"""

import contextlib
import hashlib
from collections.abc import AsyncGenerator
from typing import Literal, NamedTuple

from mainspring.batches.answer import request_id, unfinished_line
from mainspring.batches.spec import Outcome, spec_of
from mainspring.core.errors import NotFound
from mainspring.store import batches as rows
from mainspring.store.db import Database
from mainspring.store.files import Files
from mainspring.store.jobs import Job

__all__ = ["Made", "file_id", "make", "remove"]

Kind = Literal["output", "error"]
MAX_BYTES = 8 * 2**30
"""Of one file: 50,000 requests with 2,048 vectors each stay below."""
PURPOSE = "batch_output"


def file_id(batch: str, kind: Kind) -> str:
    """What a batch's file is called. As hard to guess as the batch's own id."""
    return f"file-{hashlib.sha256(f'{batch} {kind}'.encode()).hexdigest()[:32]}"


class Made(NamedTuple):
    """The ids of a batch's files, None where nothing would be in one, and the requests in each; names as of `State`."""

    output_file: str | None
    error_file: str | None
    completed: int
    failed: int


async def make(database: Database, files: Files, job: Job, outcome: Outcome) -> Made:
    """Both files of a batch. Requests that have no result are in the error file, and say why by the outcome.

    Raises:
        StorageFull: there is no room.
        Unavailable: the database does not answer.
    """
    output_file, completed = await _make(database, files, job, "output", outcome)
    error_file, failed = await _make(database, files, job, "error", outcome)
    return Made(output_file, error_file, completed, failed)


async def _make(database: Database, files: Files, job: Job, kind: Kind, outcome: Outcome) -> tuple[str | None, int]:
    lines = _Lines(database, job, kind, outcome)
    async with contextlib.aclosing(lines.read()) as found:
        first = await anext(found, None)
        if first is None:
            return None, 0
        name = file_id(job.id, kind)
        try:
            await files.get(job.project, name)
        except NotFound:
            await files.create(
                project=job.project, purpose=PURPOSE, filename=f"{job.id}_{kind}.jsonl", stream=_from(first, found),
                by=job.creator, expires_s=spec_of(job).output_expires_s, id=name, max_bytes=MAX_BYTES,
            )  # fmt: skip
        else:
            async for _ in found:
                pass
    return name, lines.num_read


class _Lines:
    """The lines of a file, counted."""

    def __init__(self, database: Database, job: Job, kind: Kind, outcome: Outcome) -> None:
        self._database, self._job, self._kind = database, job, kind
        self._outcome: Outcome = outcome
        self.num_read = 0

    async def read(self) -> AsyncGenerator[bytes]:
        found = rows.results(self._database, self._job.id, failed=self._kind == "error")
        async with contextlib.aclosing(found):
            async for line, custom_id, data in found:
                self.num_read += 1
                kept = data or unfinished_line(request_id(self._job, line), custom_id, self._outcome)
                yield kept + b"\n"


async def _from(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for each in rest:
        yield each


async def remove(files: Files, job: Job) -> None:
    """Delete the files of a batch whose project has gone."""
    kinds: tuple[Kind, Kind] = ("output", "error")
    for kind in kinds:
        with contextlib.suppress(NotFound):
            await files.remove(job.project, file_id(job.id, kind))
