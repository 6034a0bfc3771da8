"""Fine-tuning jobs as their owners see them: made, looked at, paused, resumed, cancelled. Nothing here trains.

What a caller asks for is a fact as soon as the call returns; the process that works on the job, if there is one,
notices within a second. A cancelled job writes nothing more from then on, whatever its process has still to say.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.clock import Clock
from mainspring.core.config import TrainingSettings
from mainspring.core.errors import InvalidRequest, ModelNotFound, NotFound, RateLimited
from mainspring.core.types import ModelInfo, ModelVersion
from mainspring.graders.definitions import LabelModel, Multi, RewardModel, ScoreModel, validate
from mainspring.store import jobs as rows
from mainspring.store.db import Database
from mainspring.store.files import File
from mainspring.store.jobs import Checkpoint, Event, Job, Told
from mainspring.train.ended import announce_end
from mainspring.train.plan import Hyperparameters, Method
from mainspring.train.spec import FileOf, Integration, Spec, model_name
from mainspring.train.states import ACTIVE, ENDS, Status, check_transition

__all__ = ["KIND", "MAX_PRIORITY", "FilesOf", "FineTuning", "Wish"]

KIND = "fine-tuning"
PURPOSE = "fine-tune"
MAX_PRIORITY = 100
DAY_S = 86_400.0
TRAINING_TYPES: dict[str, int] = {"standard": 0, "globalstandard": 0, "developer": -1, "developertier": -1}
"""Azure's word for where a job runs -> its priority. The developer tier is what runs on spare capacity."""
MAX_SEED = 2**31 - 1


class FilesOf(Protocol):
    """What is needed of `store.files.Files`."""

    async def get(self, project: str, id: str) -> File:  # noqa: A002 - what the API calls it
        """A file of a project; raises `NotFound`."""
        ...


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, its values within their limits.

    Args:
        model: a model of the catalog, or a deployment of the project.
        priority: None is what the training type says, or 0.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    method: Method = "supervised"
    hyperparameters: Hyperparameters = Hyperparameters()
    grader: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    suffix: str | None = None
    seed: int | None = None
    metadata: dict[str, str] | None = None
    integrations: tuple[Integration, ...] = ()
    training_type: str | None = None
    priority: int | None = None
    full: bool = False
    rank: int | None = None
    max_tokens: int | None = None
    max_steps: int | None = None
    max_answer_tokens: int | None = None


class FineTuning:
    """The fine-tuning jobs of one installation.

    Args:
        find: (name, project) -> the model version of that name; raises `ModelNotFound`.
        deployed: (name, project) -> the deployment of that name; raises `ModelNotFound`.
        changed: called after each change, so that whoever starts processes looks at once.
        lacks: the package that training needs and this installation has not; empty if it has all.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        files: FilesOf,
        *,
        find: Callable[[str, str], ModelVersion],
        deployed: Callable[[str, str], ModelInfo],
        settings: TrainingSettings,
        changed: Callable[[], None] = lambda: None,
        lacks: str = "",
    ) -> None:
        self._database, self._clock, self._files, self._lacks = database, clock, files, lacks
        self._find, self._deployed, self._settings, self._changed = find, deployed, settings, changed

    async def create(self, wish: Wish, *, project: str, by: str, may_hurry: bool = False) -> Job:
        """Make a job.

        Args:
            by: the id of whoever asks.
            may_hurry: whether they may put it before other projects' jobs.

        Raises:
            InvalidRequest: nothing can be trained here, the model cannot be tuned, a file is none of this project's or
                is for something else, the grader is wrong, the priority is not theirs to give.
            RateLimited: the project has as many jobs as it may.
        """
        if self._lacks:
            raise InvalidRequest(
                f"This server cannot train, because it has no {self._lacks}: whoever runs it installs "
                "'mainspring[train]'.",
                code="training_unavailable",
            )
        priority = _priority(wish, may_hurry)
        base = self._base(wish.model, project)
        training = await self._file(project, wish.training_file, "training_file")
        validation = await self._file(project, wish.validation_file, "validation_file")
        assert training is not None
        if wish.method == "reinforcement":
            self._check_grader(wish.grader or {}, project)
        now_s, id = self._clock.now(), f"ftjob-{secrets.token_hex(16)}"  # noqa: A001 - what the API calls it
        given = msgspec.structs.asdict(wish)
        for name in ("training_file", "validation_file", "seed", "priority"):
            del given[name]
        spec = Spec(
            **given, base=base.id, name=model_name(base, project, wish.suffix, id), training=training,
            validation=validation, seed=secrets.randbelow(MAX_SEED) if wish.seed is None else wish.seed,
        )  # fmt: skip
        job = Job(
            id=id, kind=KIND, project=project, creator=by[:128], priority=priority, status="validating_files",
            wanted="run", spec=msgspec.to_builtins(spec), state={}, error=None, created=now_s,
        )  # fmt: skip
        async with self._database.write() as connection:
            await self._check_quota(connection, project, now_s)
            await rows.add_job(connection, job)
            await rows.tell(connection, id, _beginning(job, spec), now_s)
        self._changed()
        return job

    def _base(self, name: str, project: str) -> ModelVersion:
        try:
            found = self._find(name, project)
        except ModelNotFound:
            found = None
        if found is None or found.kind not in ("chat", "completion") or found.format == "onnx":
            raise InvalidRequest(
                f"Model {name} is not available for fine-tuning or does not exist.", code="model_not_available",
                param="model",
            )  # fmt: skip
        return found

    def _check_grader(self, given: dict[str, Any], project: str) -> None:
        where = "method.reinforcement.grader"
        grader = validate(given, where)
        if isinstance(grader, LabelModel):
            raise InvalidRequest(
                f"Invalid '{where}': a label_model grader gives no reward; evaluations use it. Use score_model.",
                param=where,
            )
        for each in grader.graders.values() if isinstance(grader, Multi) else (grader,):
            if isinstance(each, RewardModel):
                self._check_reward_model(each.model, project, where)
            if isinstance(each, ScoreModel):
                self._check_judge(each.model, project, where)

    def _check_judge(self, name: str, project: str, where: str) -> None:
        try:
            kind = self._deployed(name, project).kind
        except ModelNotFound as error:
            raise InvalidRequest(f"{error.message} It is to grade.", param=where) from None
        if kind == "embedding":
            raise InvalidRequest(
                f"The model {name[:200]!r} makes embeddings and cannot grade: choose one that generates text.",
                param=where,
            )

    def _check_reward_model(self, name: str, project: str, where: str) -> None:
        """Whose it is matters here: the job's process finds whatever is in the catalog."""
        try:
            is_one = self._find(name, project).kind == "reward"
        except ModelNotFound:
            is_one = False
        if not is_one:
            raise InvalidRequest(f"The reward model {name[:200]!r} does not exist.", param=where)

    async def _file(self, project: str, id: str | None, param: str) -> FileOf | None:  # noqa: A002 - see above
        if id is None:
            return None
        try:
            file = await self._files.get(project, id)
        except NotFound:
            raise InvalidRequest(f"invalid {param}: {id[:100]}", code=f"invalid_{param}", param=param) from None
        if file.purpose != PURPOSE:
            raise InvalidRequest(
                f"The file {id} was uploaded for {file.purpose!r}: upload it with the purpose {PURPOSE!r}.",
                code="invalid_file_purpose", param=param,
            )  # fmt: skip
        return FileOf(file.id, file.sha256)

    async def _check_quota(self, connection: AsyncConnection, project: str, now_s: float) -> None:
        settings = self._settings
        if settings.jobs_per_project:
            active = await rows.count_jobs(connection, kind=KIND, project=project, statuses=ACTIVE)
            if active >= settings.jobs_per_project:
                raise RateLimited(
                    f"The project {project!r} has {active} fine-tuning jobs that wait or run, the most that it may "
                    "have: wait for one to end, or cancel one.",
                    code="active_job_limit_exceeded", retry_after_s=60.0,
                )  # fmt: skip
        if settings.jobs_per_day:
            made = await rows.count_jobs(connection, kind=KIND, project=project, since=now_s - DAY_S)
            if made >= settings.jobs_per_day:
                raise RateLimited(
                    f"The project {project!r} has created {made} fine-tuning jobs in 24 hours, the most that it may.",
                    code="daily_rate_limit_exceeded", retry_after_s=3600.0,
                )  # fmt: skip

    async def get(self, project: str, id: str) -> Job:  # noqa: A002 - what the API calls it
        """A job of a project.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.read() as connection:
            return await _job_in(connection, project, id)

    async def cancel(self, project: str, id: str) -> Job:  # noqa: A002 - see above
        """End a job for good; what it has made so far stays. Errors as of `get` and `states.check_transition`."""
        return await self._turn(project, id, "cancelled", "cancel", "Fine-tuning job cancelled")

    async def pause(self, project: str, id: str) -> Job:  # noqa: A002 - see above
        """Let a job rest until it is resumed; it goes on where it was. Errors as of `cancel`."""
        return await self._turn(project, id, "paused", "pause", "Fine-tuning job paused")

    async def resume(self, project: str, id: str) -> Job:  # noqa: A002 - see above
        """Let a paused job go on, when its turn comes. Errors as of `cancel`."""
        return await self._turn(project, id, "queued", "run", "Fine-tuning job resumed: it is queued again")

    async def _turn(self, project: str, id: str, to: Status, wanted: str, message: str) -> Job:  # noqa: A002
        now_s = self._clock.now()
        async with self._database.write() as connection:
            job = await _job_in(connection, project, id)
            check_transition(job, to)
            ended = {"finished": now_s} if to in ENDS else {}
            job = await rows.change_job(connection, job, status=to, wanted=wanted, not_before=0.0, attempts=0, **ended)
            await rows.tell(connection, id, [Told(message=message)], now_s)
            if to in ENDS:
                await announce_end(connection, job, now_s)
        self._changed()
        return job

    async def events(
        self, project: str, id: str, *, after: str | None = None, limit: int = 20  # noqa: A002 - see above
    ) -> tuple[list[Event], bool]:  # fmt: skip
        """What happened to a job, newest first, and whether there is more. Errors as of `get`, `list_events`."""
        async with self._database.read() as connection:
            await _job_in(connection, project, id)
            return await rows.list_events(connection, id, after=after, limit=limit)

    async def checkpoints(
        self, project: str, id: str, *, after: str | None = None, limit: int = 10  # noqa: A002 - see above
    ) -> tuple[list[Checkpoint], bool]:  # fmt: skip
        """What came out of a job on its way, newest first, and whether there is more. Errors as of `events`."""
        async with self._database.read() as connection:
            await _job_in(connection, project, id)
            return await rows.list_checkpoints(connection, id, after=after, limit=limit)

    async def list(
        self, project: str, *, after: str | None = None, limit: int = 20, metadata: Mapping[str, str] | None = None,
        without_metadata: bool = False,
    ) -> tuple[list[Job], bool]:  # fmt: skip
        """Jobs of a project, newest first, and whether there are more.

        Args:
            after: the id of the last job of the page before.
            metadata: only jobs that have all of these.
            without_metadata: only jobs that have none.

        Raises:
            InvalidRequest: `after` is no job of the project.
        """

        def is_wanted(job: Job) -> bool:
            has: Mapping[str, str] = job.spec.get("metadata") or {}
            fits = all(has.get(key) == each for key, each in (metadata or {}).items())
            return fits and not (without_metadata and has)

        async with self._database.read() as connection:
            start = await rows.find_job(connection, after) if after is not None else None
            if after is not None and (start is None or start.project != project):
                raise InvalidRequest(f"'after' is no fine-tuning job: {after[:100]!r}.", param="after")
            found = await rows.list_jobs(
                connection, kind=KIND, project=project, after=start, limit=limit + 1, wanted=is_wanted
            )
        return found[:limit], len(found) > limit


async def _job_in(connection: AsyncConnection, project: str, id: str) -> Job:  # noqa: A002 - what the API calls it
    job = await rows.find_job(connection, id)
    if job is None or job.project != project or job.kind != KIND:
        raise NotFound(f"Could not find fine tune: {id[:100]}", code="fine_tune_not_found", param="fine_tune_id")
    return job


def _priority(wish: Wish, may_hurry: bool) -> int:
    training = (wish.training_type or "").lower()
    if training and training not in TRAINING_TYPES:
        raise InvalidRequest(
            f"Invalid 'trainingType': {wish.training_type!r} is not one of Standard, GlobalStandard, Developer.",
            code="invalid_value", param="trainingType",
        )  # fmt: skip
    if wish.priority is None:
        return TRAINING_TYPES.get(training, 0)
    if wish.priority > 0 and not may_hurry:
        raise InvalidRequest(
            "A 'priority' above 0 puts a job before those of other projects: only an administrator may give it. "
            "Anybody may give 0 or less.",
            code="invalid_value", param="priority",
        )  # fmt: skip
    return wish.priority


def _beginning(job: Job, spec: Spec) -> list[Told]:
    files = spec.training.id + (f" and validation file: {spec.validation.id}" if spec.validation else "")
    return [
        Told(message=f"Created fine-tuning job: {job.id}"),
        Told(message=f"Validating training file: {files}"),
    ]
