"""A run: its items are loaded, each is answered (if a model is asked) and graded, and what came of it is written.

    load     items come into the database, piece by piece, with how far that got
    process  eight at a time, in any order, each held by nothing but this run's lease
    apply    an item's outcome and the run's counts, in one transaction

Whatever dies: an item that was written is done, one that was not is done again, and shows once. An item that cannot be
answered or graded is an item with an error; what fails the run is a source that cannot be read.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.errors import InvalidRequest, MainspringError, Unauthorized
from mainspring.core.types import Usage
from mainspring.evals import sample
from mainspring.evals.criteria import Criterion, criteria_of
from mainspring.evals.lines import lines_of
from mainspring.evals.recalled import logged
from mainspring.evals.schema import Mismatch, Schema
from mainspring.evals.spec import Counts, RunSpec, RunState, Spent, spec_of, state_of, written
from mainspring.graders.result import Graded
from mainspring.graders.run import grade
from mainspring.graders.seams import Seams
from mainspring.store import evals as rows
from mainspring.store.db import Database
from mainspring.store.evals import Eval, Item, ItemStatus
from mainspring.store.files import Files
from mainspring.store.jobs import Job, change_job
from mainspring.store.leases import LeaseLost
from mainspring.store.outbox import announce
from mainspring.store.worker import Held

__all__ = ["Runner", "end"]

T = TypeVar("T")

TOGETHER = 256
"""Items that are loaded in one transaction, or looked up at a time."""
TOGETHER_BYTES = 4 * 2**20
ANSWERS_FAULT = ("sample_parse_error", "truncated_observation_error")
"""Failures of graders that are the answer's: the item fails, it is no error."""
ENDS = {"completed": "succeeded", "failed": "failed", "canceled": "canceled"}
"""Status -> the word of the event."""


class _Failed(Exception):
    """The run cannot go on; `code` and message are its error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class _Over(Exception):
    """The run has ended meanwhile: it was cancelled or deleted."""


class Runner:
    """What does the runs of one server: `work` and `give_up` are what `store.worker.Worker` wants.

    Args:
        seams: (project, creator) -> what answers and grades on their behalf.
        admit: asked about a run's creator before each attempt; raises `Unauthorized` if their key works no longer.
        concurrent: items of a run at a time.
        max_items: of a run.
    """

    def __init__(
        self, database: Database, clock: Clock, files: Files, *, seams: Callable[[str, str], Seams],
        admit: Callable[[str], Awaitable[None]], concurrent: int, max_items: int,
    ) -> None:  # fmt: skip
        self._database, self._clock, self._files = database, clock, files
        self._seams, self._admit = seams, admit
        self._concurrent, self._max_items = concurrent, max_items

    async def work(self, held: Held) -> None:
        """Do what there is still to do of a run."""
        doing = asyncio.ensure_future(self._do(held))
        try:
            while not doing.done() and held.wanted != "cancel":
                poked = asyncio.ensure_future(held.poked.wait())
                try:
                    await asyncio.wait((doing, poked), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    poked.cancel()
                held.poked.clear()
        finally:
            doing.cancel()
            await asyncio.wait((doing,))
        if not doing.cancelled():
            doing.result()

    async def give_up(self, held: Held, why: str) -> None:
        """Write that a run has failed."""
        await self._end(held, "failed", {"code": "internal_error", "message": why})

    async def _do(self, held: Held) -> None:
        try:
            await self._run(held)
        except Exception as error:
            first = _first(error)
            if isinstance(first, LeaseLost):
                raise first from error
            if isinstance(first, _Failed):
                await self._end(held, "failed", {"code": first.code, "message": first.message})
            elif not isinstance(first, _Over):
                raise

    async def _run(self, held: Held) -> None:
        spec = spec_of(held.job)
        async with self._database.read() as connection:
            found = await rows.find_eval(connection, held.job.project, spec.eval)
        if found is None:
            raise _Over
        try:
            await self._admit(held.job.creator)
        except Unauthorized as error:
            raise _Failed(error.code, error.message) from None
        await self._begin(held)
        if not state_of(held.job).is_loaded:
            await self._load(held, spec, found)
        await self._process(held, spec, criteria_of(found.criteria))
        await self._end(held, "completed")

    async def _begin(self, held: Held) -> None:
        async with _Writing(held, gets_on=False) as (connection, job):
            await change_job(connection, job, status="in_progress", started=job.started or self._clock.now())

    # -- load ----------------------------------------------------------------------------------------------------------

    async def _load(self, held: Held, spec: RunSpec, found: Eval) -> None:
        source = self._logs(held, spec) if spec.origin.is_log else self._lines(held, spec, found)
        async with aclosing(source) as pieces:
            async for piece, after in pieces:
                await self._keep(held, piece, after)
        await self._loaded(held)

    async def _loaded(self, held: Held) -> None:
        async with _Writing(held) as (connection, job):
            state = msgspec.structs.replace(state_of(job), is_loaded=True)
            if not state.loaded:
                raise _Failed("empty_source", "The data source has no items.")
            await change_job(connection, job, state=written(state))

    async def _keep(self, held: Held, piece: Sequence[dict[str, Any]], after: tuple[float, str] | None) -> None:
        async with _Writing(held) as (connection, job):
            state = state_of(job)
            if state.loaded + len(piece) > self._max_items:
                raise _Failed("too_many_items", f"The data source has more than {self._max_items} items.")
            await rows.add_items(connection, job.id, state.loaded, piece)
            state = msgspec.structs.replace(state, loaded=state.loaded + len(piece), after=after)
            await change_job(connection, job, state=written(state))

    async def _lines(
        self, held: Held, spec: RunSpec, found: Eval
    ) -> AsyncGenerator[tuple[list[dict[str, Any]], tuple[float, str] | None]]:
        """Items of a file that are not in the database yet."""
        schema, skip = Schema(found.config["schema"]["properties"]["item"]), state_of(held.job).loaded
        piece: list[dict[str, Any]] = []
        size = number = 0
        try:
            file = await self._files.get(held.job.project, spec.origin.file)
            async with aclosing(lines_of(self._files.open(file))) as lines:
                async for line in lines:
                    number += 1
                    if number <= skip:
                        continue
                    piece.append(await asyncio.to_thread(_checked, line, number, schema))
                    size += len(line)
                    if len(piece) >= TOGETHER or size > TOGETHER_BYTES:
                        yield piece, None
                        piece, size = [], 0
        except MainspringError as error:
            raise _Failed(error.code, error.message) from None
        if piece:
            yield piece, None

    async def _logs(
        self, held: Held, spec: RunSpec
    ) -> AsyncGenerator[tuple[list[dict[str, Any]], tuple[float, str] | None]]:
        """What is stored of chats or responses and not among the items yet."""
        state = state_of(held.job)
        after, left = state.after, (spec.origin.limit or self._max_items + 1) - state.loaded
        while (most := min(TOGETHER // 4, left)) > 0:
            async with self._database.read() as connection:
                found = await logged(
                    connection, held.job.project, spec.origin, after=after, limit=most, now_s=self._clock.now()
                )
            if not found:
                return
            _, after = found[-1]
            left -= len(found)
            yield [item for item, _ in found], after

    # -- process -------------------------------------------------------------------------------------------------------

    async def _process(self, held: Held, spec: RunSpec, criteria: Sequence[Criterion]) -> None:
        seams = self._seams(held.job.project, held.job.creator)
        todo, taking = self._pending(held.job.id), asyncio.Lock()

        async def take() -> None:
            while True:
                async with taking:
                    item = await anext(todo, None)
                if item is None:
                    return
                await self._settle(held, spec, item, criteria, seams)

        async with aclosing(todo), asyncio.TaskGroup() as group:
            for _ in range(self._concurrent):
                group.create_task(take())

    async def _pending(self, run: str) -> AsyncGenerator[Item]:
        after = -1
        while True:
            page = await self._page(run, after)
            if not page:
                return
            for item in page:
                yield item
            after = page[-1].place

    async def _page(self, run: str, after: int) -> list[Item]:
        async with self._database.read() as connection:
            return await rows.pending_items(connection, run, after, TOGETHER // 4)

    async def _settle(
        self, held: Held, spec: RunSpec, item: Item, criteria: Sequence[Criterion], seams: Seams
    ) -> None:  # fmt: skip
        answered, shown = await _answered(spec, item, seams)
        graded = [
            (each, await grade(each.grader, item.item["item"], answered.scope, seams)) for each in criteria
        ] if answered is not None else []  # fmt: skip
        status = _status(graded) if answered is not None else "error"
        outcome = {"results": [each.result(found) for each, found in graded], "sample": shown}
        asked, usage = spec.sampler.model if spec.sampler else "", answered.usage if answered is not None else None

        def counted(state: RunState) -> RunState:
            return _counted(state, status, graded, asked=asked, usage=usage, num_criteria=len(criteria))

        await self._write(held, item, status, outcome, counted)

    async def _write(
        self, held: Held, item: Item, status: ItemStatus, outcome: dict[str, Any],
        counted: Callable[[RunState], RunState],
    ) -> None:  # fmt: skip
        async with _Writing(held) as (connection, job):
            if await rows.settle_item(connection, item, status=status, outcome=outcome, now_s=self._clock.now()):
                await change_job(connection, job, state=written(counted(state_of(job))))

    # -- apply ---------------------------------------------------------------------------------------------------------

    async def _end(self, held: Held, status: str, error: dict[str, str] | None = None) -> None:
        async with _Writing(held) as (connection, job):
            await end(connection, job, status, self._clock.now(), error)


async def end(
    connection: AsyncConnection, job: Job, status: str, now_s: float, error: dict[str, str] | None = None
) -> Job:
    """Write that a run has ended, and tell who wants to hear of it."""
    wanted = "cancel" if status == "canceled" else "run"
    job = await change_job(connection, job, status=status, finished=now_s, error=error, wanted=wanted)
    await announce(connection, project=job.project, type=f"eval.run.{ENDS[status]}", object=job.id, now_s=now_s)
    return job


def _first(error: BaseException) -> BaseException:
    """What decides of all that went wrong at once."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    found = [_first(each) for each in group.exceptions]
    return next((each for each in found if isinstance(each, LeaseLost | _Over)), found[0])


class _Writing:
    """`Held.writing` of a run that has not ended.

    Raises:
        _Over: it has.
    """

    def __init__(self, held: Held, *, gets_on: bool = True) -> None:
        self._inner = held.writing(gets_on=gets_on)

    async def __aenter__(self) -> tuple[AsyncConnection, Job]:
        connection, job = await self._inner.__aenter__()
        if job.finished is not None:
            over = _Over()
            await self._inner.__aexit__(_Over, over, None)
            raise over
        return connection, job

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._inner.__aexit__(*error)


def _checked(line: bytes, number: int, schema: Schema) -> dict[str, Any]:
    """The item on a line. Raises InvalidRequest."""
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
        item = found.get("item")
        if not isinstance(item, dict) or not isinstance(found.get("sample", {}), dict):
            raise Mismatch("", "an object with 'item', and maybe 'sample', is expected")
        schema.check(item)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"Line {number} of the file is not JSON: {error}.", code="invalid_item") from None
    except Mismatch as error:
        raise InvalidRequest(f"Line {number} of the file does not fit the item schema: {error}.",
                             code="invalid_item") from None  # fmt: skip
    return {key: found[key] for key in ("item", "sample") if key in found}


async def _answered(spec: RunSpec, item: Item, seams: Seams) -> tuple[sample.Answered | None, dict[str, Any]]:
    """The answer to an item, and what the API shows of it."""
    if spec.sampler is None:
        answered = sample.remembered(item.item) if spec.origin.is_log else sample.given(item.item.get("sample"))
        return answered, answered.shown
    messages: Sequence[Any] = ()
    try:
        messages = sample.prompt(spec.sampler, item.item["item"])
        answered = await sample.ask(spec.sampler, messages, seams)
    except sample.ItemFailed as error:
        return None, sample.unanswered(spec.sampler, error, messages)
    return answered, answered.shown


def _status(graded: Sequence[tuple[Criterion, Graded]]) -> ItemStatus:
    if any(failure.kind not in ANSWERS_FAULT for _, found in graded for failure in found.failures):
        return "error"
    return "pass" if all(each.passes(found) for each, found in graded) else "fail"


def _counted(
    state: RunState, status: ItemStatus, graded: Sequence[tuple[Criterion, Graded]], *, asked: str,
    usage: Usage | None, num_criteria: int,
) -> RunState:  # fmt: skip
    """The run's counts with one item more."""
    old = state.counts
    counts = Counts(
        passed=old.passed + (status == "pass"), failed=old.failed + (status == "fail"),
        errored=old.errored + (status == "error"),
    )  # fmt: skip
    spent = dict(state.spent)
    used = [(asked, usage)] if usage is not None else []
    used += [pair for _, found in graded for pair in found.usage.items()]
    for model, each in used:
        spent[model] = spent.get(model, Spent()) + Spent.of(each)
    tallies = state.criteria or ((0, 0),) * num_criteria
    marks = [each.passes(found) for each, found in graded]
    criteria = (
        tuple((p + mark, f + (not mark)) for (p, f), mark in zip(tallies, marks, strict=True)) if marks else tallies
    )
    return msgspec.structs.replace(state, counts=counts, spent=spent, criteria=criteria)
