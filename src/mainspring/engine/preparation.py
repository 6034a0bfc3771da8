"""Prepares a model's weights for this machine: has the formats measured, chooses, and puts the winner in its place.

The measuring is done by a process of its own (`engine/llama/measure.py`): whoever asks for it, a command or a server
about to start, does not load the inference library. Interrupted at any moment, this leaves nothing that is used; what
lies below `models/.work` is removed by the next one. (`engine/prepare.py` prepares requests, which is something else.)
"""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from mainspring.core.config import EngineSettings
from mainspring.core.errors import InvalidRequest, UserMistake
from mainspring.core.types import ModelVersion
from mainspring.engine.formats import BOUND_NATS, FORMATS, SHIPPED, Measurement, choose, plan, planned_bytes
from mainspring.models import prepared
from mainspring.models.catalog import Catalog, folder_name, locked
from mainspring.models.gguf import read_layout
from mainspring.models.prepared import Choice
from mainspring.models.sources import Progress as Report
from mainspring.models.sources import check_space

__all__ = ["Failed", "Job", "Measured", "Message", "Progress", "on_first_use", "prepare", "tables"]

ROUNDS, FIRST_USE_ROUNDS = 3, 2
"""Measurements of each format by the command and by a server's first start, unless they do not agree."""
MOST_ROUNDS = 5
"""Measurements if they do not."""
STEADY = 0.1
"""They agree if the best of each figure and the next to it are this far apart at most: then it was not a moment's luck,
and no other program disturbed all but one."""
END_S = 10.0
"""How long a process may take to end after it has closed its output."""
FIRST_USE_S = 30.0
"""How long a server's first start may be delayed."""
FIRST_USE_BYTES = 400_000_000
"""A model that is larger is not tried then: even its shipped file alone would take too long."""
TRY_AGAIN_S = 24 * 3600.0
"""When a start tries again after a measurement that would have taken too long: the machine may have been busy."""
FIRST_USE_FORMATS = ("q8_0",)
"""What is measured then: the only format that was ever both within the bound and faster (docs/LOG.md)."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the measuring process is given, as one line of JSON on its standard input, which stays open.

    Args:
        shards: the model's files.
        folder: where it writes `<format>.gguf`.
        settings: `EngineSettings` as JSON.
        num_rounds: how often each format is measured at least.
        noise: compute the text a second time, for how far the shipped file is from itself.
        limit_s: give up at once if it would take longer.
        only_write: write this format and measure nothing.
    """

    shards: tuple[str, ...]
    folder: str
    settings: msgspec.Raw
    formats: tuple[str, ...] = tuple(FORMATS)
    bound_nats: float = BOUND_NATS
    num_rounds: int = ROUNDS
    noise: bool = True
    limit_s: float | None = None
    only_write: str | None = None


class Progress(msgspec.Struct, frozen=True, array_like=True, tag="progress"):
    """What it does, and how much of that is done, if that is known."""

    phase: str
    done: int
    total: int | None


class Measured(msgspec.Struct, frozen=True, array_like=True, tag="measured"):
    """Its last word: what was seen, the shipped file first, and how far apart the measurements of one figure were."""

    table: tuple[Measurement, ...]
    spread: float = 0.0


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Its last word: why not."""

    message: str
    too_long: bool = False


Message = Progress | Measured | Failed


class _TooLong(UserMistake):
    """It would take longer than `Job.limit_s`."""


class _Subject(NamedTuple):
    """What is prepared, and for which settings."""

    catalog: Catalog
    version: ModelVersion
    settings: EngineSettings


def prepare(
    catalog: Catalog,
    version: ModelVersion,
    settings: EngineSettings,
    report: Report,
    *,
    name: str | None = None,
    bound_nats: float = BOUND_NATS,
) -> Choice:
    """Measure the formats and keep the best, or with `name` write that one and measure nothing.

    Raises:
        UserMistake: the model cannot be prepared: its kind, no room, a damaged file, a library that does not load it.
    """
    subject = _Subject(catalog, version, settings)
    with _work(subject, report) as work:
        job = msgspec.structs.replace(_job(subject, work), bound_nats=bound_nats)
        if name is None:
            return _measured(subject, work, job, report)
        if name != SHIPPED:
            _check_room(job, (name,), work)
            _run(msgspec.structs.replace(job, only_write=name), report)
        return _settle(subject, work, _choice(settings, name, "person", "it was asked for"))


def on_first_use(catalog: Catalog, version: ModelVersion, settings: EngineSettings, report: Report) -> Choice | None:
    """What a server does before it loads a model: see to it that the file exists that `prepared.weights` will name.

    A small model is measured, which takes some seconds, once. A large one is served as shipped: its start must not be
    delayed by minutes, and whoever runs it can have it prepared at a better time.

    Returns:
        What has been chosen now; None if there was nothing to do.

    Raises:
        UserMistake: `engine.format` names a format that cannot be made of this model.
    """
    if not _can_be_prepared(version) or settings.format == SHIPPED:
        return None
    if settings.format != "auto":
        if (prepared.folder(catalog, version) / prepared.file_name(settings.format, settings)).exists():
            return None
        return prepare(catalog, version, settings, report, name=settings.format)
    subject = _Subject(catalog, version, settings)
    if _is_settled(subject):
        return None
    with _work(subject, report) as work:
        # Another start may have done it while this one waited.
        return None if _is_settled(subject) else _first(subject, work, report)


def _is_settled(subject: _Subject) -> bool:
    choice = prepared.find(*subject)
    return choice is not None and (choice.by != "nobody" or time.time() < choice.created + TRY_AGAIN_S)


def _first(subject: _Subject, work: Path, report: Report) -> Choice:
    """Measure what can be measured in a few seconds."""
    if sum(file.bytes for file in subject.version.files) > FIRST_USE_BYTES:
        return _settle(
            subject,
            work,
            _choice(subject.settings, SHIPPED, "nobody", "measuring the formats of so large a model is slow"),
        )
    try:
        job = msgspec.structs.replace(
            _job(subject, work),
            formats=FIRST_USE_FORMATS,
            num_rounds=FIRST_USE_ROUNDS,
            noise=False,
            limit_s=FIRST_USE_S,
        )
        report(f"finding the fastest format, once, in at most about {FIRST_USE_S:.0f} s", 0, None)
        return _measured(subject, work, job, report)
    except _TooLong as mistake:
        return _settle(subject, work, _choice(subject.settings, SHIPPED, "nobody", mistake.message))
    except UserMistake as mistake:  # no room today, or a library that is being changed: the next start tries again
        return _choice(subject.settings, SHIPPED, "nobody", mistake.message)


def tables(choice: Choice) -> tuple[Measurement, ...]:
    """The measurements of a choice."""
    return tuple(msgspec.convert(row, Measurement) for row in choice.table)


def _can_be_prepared(version: ModelVersion) -> bool:
    return version.format == "gguf" and version.kind != "embedding" and not version.is_adapter


@contextlib.contextmanager
def _work(subject: _Subject, report: Report) -> Generator[Path]:
    """A folder of our own on the catalog's disk, empty, and nobody else preparing this version."""
    catalog, version, _ = subject
    if not _can_be_prepared(version):
        raise UserMistake(f"{version.name} is served as it is: only models that generate text, in GGUF, are prepared.")
    work = catalog.root / ".work" / f"prepare-{folder_name(version.name)}-{version.version}"
    work.parent.mkdir(exist_ok=True)
    with locked(work.with_name(f"{work.name}.lock"), report):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _job(subject: _Subject, work: Path) -> Job:
    catalog, version, settings = subject
    shards = tuple(str(catalog.path(version, file)) for file in version.files)
    for shard, file in zip(shards, version.files, strict=True):
        if not Path(shard).is_file() or Path(shard).stat().st_size != file.bytes:
            raise UserMistake(
                f"{version.name} is damaged ({file.path} has not its {file.bytes} bytes): "
                f"`mainspring models rm {version.name}@{version.version}`, then pull it again from {version.source}."
            )
    raw = msgspec.Raw(settings.model_dump_json().encode())
    return Job(shards=shards, folder=str(work), settings=raw)


def _check_room(job: Job, names: Sequence[str], work: Path) -> None:
    """Whether the disk holds all formats at once; each is measured again in every round."""
    try:
        layouts = [read_layout(Path(shard)) for shard in job.shards]
    except InvalidRequest as error:
        raise UserMistake(error.message) from error
    check_space(work, sum(planned_bytes(plan(layouts, FORMATS[name])) for name in names))


def _run(job: Job, report: Report) -> Measured:
    """Start the measuring process and follow it to its last word.

    Raises:
        UserMistake: what it says has failed, or that it has ended without a word.
    """
    # A session of its own: Ctrl-C is ours to act on, and ends it by closing its input.
    process = subprocess.Popen(
        [sys.executable, "-m", "mainspring.engine.llama.measure"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        for line in process.stdout:
            message: Message = msgspec.json.decode(line, type=Message)
            match message:
                case Progress(phase, done, total):
                    report(phase, done, total)
                case Measured():
                    return message
                case Failed(why, too_long):
                    raise (_TooLong if too_long else UserMistake)(why)
        process.wait(END_S)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        pass  # it ended before it had read what to do, or it does not end
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    raise UserMistake(f"The formats could not be measured: the process ended with status {process.returncode}.")


def _choice(settings: EngineSettings, name: str, by: Literal["measured", "person", "nobody"], reason: str) -> Choice:
    return Choice(format=name, by=by, reason=reason, created=int(time.time()), machine=prepared.machine(settings))


def _measured(subject: _Subject, work: Path, job: Job, report: Report) -> Choice:
    """Measure, choose, publish. What was measured on a busy machine is not kept for good if nobody saw it."""
    _check_room(job, job.formats, work)
    measured = _run(job, report)
    name, reason = choose(measured.table, job.bound_nats)
    steady = measured.spread <= STEADY
    if not steady:
        reason += f" (the machine was busy: measurements of the same thing were {measured.spread:.0%} apart)"
    rows = tuple(msgspec.to_builtins(row) for row in measured.table)
    choice = _choice(subject.settings, name, "measured" if steady or job.limit_s is None else "nobody", reason)
    return _settle(subject, work, msgspec.structs.replace(choice, bound_nats=job.bound_nats, table=rows))


def _settle(subject: _Subject, work: Path, choice: Choice) -> Choice:
    """Publish a choice with its file, which lies in `work`."""
    catalog, version, settings = subject
    made = None
    if choice.format != SHIPPED:
        made = work / f"{choice.format}.gguf"
        choice = msgspec.structs.replace(
            choice, file=prepared.file_ref(made, prepared.file_name(choice.format, settings))
        )
    prepared.publish(catalog, version, choice, made)
    return choice
