"""Evaluations and their runs as their owners see them: made, looked at, labelled, cancelled, deleted.

What a caller asks for is a fact as soon as the call returns; `runner` does the work. A run that was cancelled or
deleted writes nothing more, whatever is still being computed for it.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.config_evals import EvalSettings
from mainspring.core.errors import InvalidRequest, MainspringError, NotFound, OperationNotSupported, RateLimited
from mainspring.core.seams import Deployments
from mainspring.evals.criteria import Criterion, criteria_of, models_of, runs_code
from mainspring.evals.runner import end
from mainspring.evals.schema import Mismatch, Schema
from mainspring.evals.spec import ACTIVE, Origin, RunSpec, RunState, Sampler, written
from mainspring.graders.run import check
from mainspring.graders.seams import Seams
from mainspring.store import evals as rows
from mainspring.store.db import Database
from mainspring.store.evals import RUN, Eval, Item
from mainspring.store.files import Files
from mainspring.store.jobs import Job, add_job, change_job, count_jobs, find_job
from mainspring.store.stored_chats import StoredChats

__all__ = ["Evals", "Run", "fair"]

PURPOSE = "evals"
MAX_PAGE_BYTES = 16 * 2**20
"""Of the sources of the runs of one page: it ends earlier if they have more."""
_ITEM: dict[str, Any] = {"type": "object"}
_SAMPLE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "object"}},
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["model", "choices"],
}
"""What graders see of an answer."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run, and where its items come from as it was sent, as JSON."""

    job: Job
    source: bytes


class Evals:
    """The evaluations of one installation.

    Args:
        seams: (project, creator) -> what answers and grades on their behalf.
        changed: called after each change, so that whoever works on runs looks at once.
    """

    def __init__(
        self, database: Database, clock: Clock, files: Files, chats: StoredChats, models: Deployments, *,
        seams: Callable[[str, str], Seams], settings: EvalSettings, changed: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._database, self._clock, self._files, self._chats = database, clock, files, chats
        self._models, self._seams, self._settings, self._changed = models, seams, settings, changed

    async def create(
        self, *, project: str, by: str, name: str, labels: dict[str, str] | None, config: Mapping[str, Any],
        criteria: Sequence[Mapping[str, Any]], may_run_code: bool,
    ) -> Eval:  # fmt: skip
        """Make an evaluation.

        Args:
            config: `data_source_config` as it was sent.
            may_run_code: whether its maker may send code that graders run.

        Raises:
            InvalidRequest: the schema or a grader is wrong, or it has code and may not.
            ModelNotFound: a grader asks a deployment that there is none of.
        """
        found = criteria_of(criteria)
        if runs_code(found) and not may_run_code:
            raise InvalidRequest(
                "A python grader runs code, which needs the role contributor or admin.", code="permission_denied",
                param="testing_criteria",
            )  # fmt: skip
        made = _config(config)
        if config["type"] == "custom":
            await asyncio.to_thread(Schema, config["item_schema"], "data_source_config.item_schema")
        await self._check(found, project, by)
        now_s = self._clock.now()
        new = Eval(
            id=f"eval_{secrets.token_hex(16)}", project=project, name=name, creator=by[:128], created=now_s,
            updated=now_s, labels=labels, config=made, criteria=[dict(each) for each in criteria],
        )  # fmt: skip
        async with self._database.write() as connection:
            await rows.add_eval(connection, new)
        return new

    async def _check(self, criteria: Sequence[Criterion], project: str, by: str) -> None:
        for at, model in models_of(criteria):
            self._model(model, project, f"testing_criteria[{at}].model")
        seams = self._seams(project, by)
        for at, each in enumerate(criteria):
            await check(each.grader, seams, f"testing_criteria[{at}]")

    def _model(self, name: str, project: str, param: str) -> int:
        """The context of a deployment that generates text. Raises ModelNotFound, OperationNotSupported."""
        try:
            found = self._models.find(name, project)
        except MainspringError as error:
            raise type(error)(error.message, code=error.code, param=param) from None
        if found.kind == "embedding" or found.is_for_batches:
            why = "makes embeddings" if found.kind == "embedding" else "is for batches"
            raise OperationNotSupported(
                f"The model {name!r} {why} and cannot be asked here: choose one that generates text.", param=param
            )
        return found.context_length

    async def get(self, project: str, id: str) -> Eval:  # noqa: A002 - what the API calls it
        """An evaluation of a project.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            return await _eval_in(connection, project, id)

    async def update(self, project: str, id: str, **fields: Any) -> Eval:  # noqa: A002 - see above
        """Change its name or labels. Errors as of `get`."""
        async with self._database.write() as connection:
            found = await _eval_in(connection, project, id)
            return await rows.change_eval(connection, found, updated=self._clock.now(), **fields)

    async def remove(self, project: str, id: str) -> None:  # noqa: A002 - see above
        """Delete one with its runs. Errors as of `get`."""
        async with self._database.write() as connection:
            await _eval_in(connection, project, id)
            await rows.remove_eval(connection, id)

    # -- runs ----------------------------------------------------------------------------------------------------------

    async def start(
        self, project: str, id: str, *, by: str, name: str | None, labels: dict[str, str] | None,  # noqa: A002 - see above
        source: dict[str, Any], origin: Origin, sampler: Sampler | None, items: Sequence[dict[str, Any]] = (),
    ) -> Run:  # fmt: skip
        """Make a run.

        Args:
            source: `data_source` as it was sent.
            items: those that came with the request.

        Raises:
            InvalidRequest: an item is not what the schema says, or the file is for something else.
            NotFound: there is no such evaluation, file or model.
            RateLimited: the project has as many runs as it may.
        """
        found = await self.get(project, id)
        await asyncio.to_thread(_check_items, items, found)
        if len(items) > self._settings.max_items:
            raise InvalidRequest(
                f"A run has at most {self._settings.max_items} items.", param="data_source.source.content"
            )
        if origin.kind == "file":
            await self._check_file(project, origin.file)
        if origin.is_log:
            origin = _of_logs(origin, found)
        if sampler is not None:
            length = self._model(sampler.model, project, "data_source.model")
            sampler = msgspec.structs.replace(sampler, context_tokens=length)
        await self._chats.settled()
        title = name or (sampler.model if sampler else found.name)
        spec = RunSpec(eval=id, name=title[:256], labels=labels, origin=origin, sampler=sampler)
        state = RunState(loaded=len(items), is_loaded=origin.kind == "content")
        job = Job(
            id=f"evalrun_{secrets.token_hex(16)}", kind=RUN, project=project, creator=by[:128], priority=0,
            status="queued", wanted="run", spec=written(spec), state=written(state), error=None,
            created=self._clock.now(),
        )  # fmt: skip
        async with self._database.write() as connection:
            await _eval_in(connection, project, id)
            await self._check_quota(connection, project)
            await add_job(connection, job)
            await rows.add_source(connection, run=job.id, eval=id, source=source)
            await rows.add_items(connection, job.id, 0, items)
        self._changed()
        return Run(job=job, source=msgspec.json.encode(source))

    async def _check_file(self, project: str, id: str) -> None:  # noqa: A002 - see above
        param = "data_source.source.id"
        try:
            file = await self._files.get(project, id)
        except NotFound as error:
            raise NotFound(error.message, param=param) from None
        if file.purpose != PURPOSE:
            raise InvalidRequest(
                f"The file {id} was uploaded for {file.purpose!r}: upload it with the purpose {PURPOSE!r}.",
                code="invalid_file_purpose", param=param,
            )  # fmt: skip

    async def _check_quota(self, connection: AsyncConnection, project: str) -> None:
        most = self._settings.runs_per_project
        active = await count_jobs(connection, kind=RUN, project=project, statuses=ACTIVE) if most else 0
        if active >= most > 0:
            raise RateLimited(
                f"The project {project!r} has {active} runs of evaluations that wait or run, the most that it may "
                "have: wait for one to end, or cancel one.",
                code="active_run_limit_exceeded", retry_after_s=30.0,
            )  # fmt: skip

    async def run(self, project: str, id: str, run: str) -> Run:  # noqa: A002 - see above
        """A run of an evaluation.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            job = await _run_in(connection, project, id, run)
            return Run(job=job, source=await rows.source_of(connection, run))

    async def runs(
        self, project: str, id: str, *, after: str | None, limit: int, status: str | None, descending: bool  # noqa: A002
    ) -> tuple[list[Run], bool]:  # fmt: skip
        """Runs of an evaluation, and whether there are more. A page whose sources are large ends earlier.

        Raises:
            NotFound: there is no such evaluation.
            InvalidRequest: `after` is none of its runs.
        """
        async with self._database.read() as connection:
            await _eval_in(connection, project, id)
            start = None
            if after is not None:
                try:
                    start = await _run_in(connection, project, id, after)
                except NotFound:
                    raise InvalidRequest(f"'after' is no run: {after[:100]!r}.", param="after") from None
            jobs = await rows.list_runs(
                connection, id, after=start, limit=limit + 1, status=status, descending=descending
            )
            found: list[Run] = []
            size = 0
            for job in jobs[:limit]:
                found.append(Run(job=job, source=await rows.source_of(connection, job.id)))
                size += len(found[-1].source)
                if size > MAX_PAGE_BYTES:
                    break
        return found, len(jobs) > len(found)

    async def cancel(self, project: str, id: str, run: str) -> Run:  # noqa: A002 - see above
        """End a run for good; what came of it so far stays. One that was cancelled already stays as it is.

        Raises:
            NotFound: there is none of that id.
            InvalidRequest: it has ended.
        """
        async with self._database.write() as connection:
            job = await _run_in(connection, project, id, run)
            if job.finished is None:
                job = await end(connection, job, "canceled", self._clock.now())
                await change_job(connection, job, not_before=0.0)
            elif job.status != "canceled":
                raise InvalidRequest(
                    f"The run {run} is {job.status} and cannot be cancelled.", code="invalid_run_state", param="run_id"
                )
            source = await rows.source_of(connection, run)
        return Run(job=job, source=source)

    async def remove_run(self, project: str, id: str, run: str) -> None:  # noqa: A002 - see above
        """Delete a run, whatever it does. Errors as of `run`."""
        async with self._database.write() as connection:
            await _run_in(connection, project, id, run)
            await rows.remove_run(connection, run)

    async def item(self, project: str, id: str, run: str, item: str) -> Item:  # noqa: A002 - see above
        """An output item.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            await _run_in(connection, project, id, run)
            found = await rows.find_item(connection, run, item)
        if found is None:
            raise NotFound(f"No output item found with id {item[:100]!r}.", param="output_item_id")
        return found

    async def items(
        self, project: str, id: str, run: str, *, after: str | None, limit: int,  # noqa: A002 - see above
        status: Literal["pass", "fail"] | None, descending: bool,
    ) -> tuple[list[Item], bool]:  # fmt: skip
        """What has come of a run's items, and whether there are more. Errors as of `run` and `list_items`."""
        async with self._database.read() as connection:
            await _run_in(connection, project, id, run)
            found = await rows.list_items(
                connection, run, after=after, limit=limit + 1, status=status, descending=descending
            )
        return found[:limit], len(found) > limit

    async def list(
        self, project: str, *, after: str | None, limit: int, order_by: Literal["created", "updated"],
        descending: bool,
    ) -> tuple[list[Eval], bool]:  # fmt: skip
        """Evaluations of a project, and whether there are more.

        Raises:
            InvalidRequest: `after` is none of them.
        """
        async with self._database.read() as connection:
            start = None if after is None else await rows.find_eval(connection, project, after)
            if after is not None and start is None:
                raise InvalidRequest(f"'after' is no evaluation: {after[:100]!r}.", param="after")
            found = await rows.list_evals(
                connection, project, after=start, limit=limit + 1, order_by=order_by, descending=descending
            )
        return found[:limit], len(found) > limit


def fair(waiting: Sequence[Job], held: Sequence[Job]) -> str | None:
    """Whose turn it is: a run of the project that has the fewest in work; see `store.leases.Choose`."""
    busy = Counter(job.project for job in held)
    return min(waiting, key=lambda job: busy[job.project]).id if waiting else None


def _of_logs(origin: Origin, found: Eval) -> Origin:
    """What is stored that the evaluation is about as well. Raises InvalidRequest if it is about none."""
    if found.config["type"] == "custom":
        raise InvalidRequest(
            "The evaluation has an item schema of its own, and what is stored has another: make one whose "
            "data_source_config is of type logs.",
            param="data_source.source.type",
        )
    labels: dict[str, str] = found.config.get("metadata") or {}
    chats = msgspec.structs.replace(origin.chats, labels={**labels, **origin.chats.labels})
    responses = msgspec.structs.replace(origin.responses, labels={**labels, **origin.responses.labels})
    return msgspec.structs.replace(origin, chats=chats, responses=responses)


def _config(given: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it is kept and shown: with the schema of what graders see."""
    kind = given["type"]
    has_sample = kind != "custom" or bool(given.get("include_sample_schema"))
    properties = {"item": given["item_schema"] if kind == "custom" else _ITEM}
    if has_sample:
        properties["sample"] = _SAMPLE if kind == "custom" else _ITEM
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    labels = {} if kind == "custom" else {"metadata": given.get("metadata")}
    return {"type": kind, **labels, "schema": schema}


def _check_items(items: Sequence[Mapping[str, Any]], found: Eval) -> None:
    schema = Schema(found.config["schema"]["properties"]["item"])
    for at, each in enumerate(items):
        try:
            schema.check(each["item"])
        except Mismatch as error:
            place = f"data_source.source.content[{at}].item"
            raise InvalidRequest(
                f"Invalid '{place}': it does not fit the item schema of the evaluation: {error}.", code="invalid_item",
                param=place,
            ) from None  # fmt: skip


async def _eval_in(connection: AsyncConnection, project: str, id: str) -> Eval:  # noqa: A002 - what the API calls it
    found = await rows.find_eval(connection, project, id)
    if found is None:
        raise NotFound(f"No eval found with id {id[:100]!r}.", param="eval_id")
    return found


async def _run_in(connection: AsyncConnection, project: str, id: str, run: str) -> Job:  # noqa: A002 - see above
    await _eval_in(connection, project, id)
    job = await find_job(connection, run)
    if job is None or job.kind != RUN or job.project != project or job.spec["eval"] != id:
        raise NotFound(f"No run found with id {run[:100]!r}.", param="run_id")
    return job
