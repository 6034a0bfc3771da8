"""A fine-tuning job's process: one claim on one job, from its last checkpoint as far as it gets.

    python -m mainspring.train.job <<< '{"home": "...", "job": "ftjob-...", "owner": "...", "number": 3, ...}'

The standard input stays open for as long as the server lives. When it ends, however the server died, and at SIGTERM,
the job writes a checkpoint, gives itself back and ends; whoever claims it next goes on from there.
"""

import contextlib
import errno
import hashlib
import importlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import psutil

from mainspring.compute.local import make_way
from mainspring.core import log
from mainspring.core.clock import SystemClock
from mainspring.core.config_blobs import BlobSettings
from mainspring.core.errors import (
    EngineUnavailable,
    InvalidRequest,
    MainspringError,
    NotFound,
    StorageFull,
    UserMistake,
)
from mainspring.core.types import ModelVersion
from mainspring.models.catalog import Catalog
from mainspring.store.blobs import open_blobs
from mainspring.store.db import Database
from mainspring.store.files import File, Files
from mainspring.store.jobs import Job, Told, add_checkpoint, metric_events, tell
from mainspring.store.leases import Lease, LeaseLost
from mainspring.train.keeper import LOST, Keeper
from mainspring.train.plan import Data, Made, Outcome, Plan, Progress, Reporter, Train, Wanted
from mainspring.train.results import report_to_wandb, results_csv
from mainspring.train.spec import FOLDER, FileOf, First, checkpoint_name, plan_of, spec_of

__all__ = ["main"]

MIN_EXAMPLES = 10
FULL_RETRY_S = 60.0
KEPT = {"lock", "metrics.jsonl", "tensorboard", "told.jsonl", "wandb"}
"""Of a job's folder, once it has ended."""
NICE = 10
"""Whoever is being served goes first."""
WAITING = "PASSIVE"
"""How threads wait for each other at the end of each product: asleep. Where somebody else computes on the same cores, a
thread that spins keeps the one that it waits for from running: a step took 20 to 100 times as long, measured beside one
busy process."""

_log = log.get("mainspring.train")


class Parts(msgspec.Struct, frozen=True):
    """What does the work."""

    validate: Callable[[Plan, Path, Reporter], None]
    train: Train
    register: Callable[[Plan, Made], ModelVersion | None]


def _parts(first: First, catalog: Catalog, project: str) -> Parts:
    """PyTorch is loaded here, and only in this process."""

    def part(module: str, name: str) -> Any:
        return getattr(importlib.import_module(first.trainer or f"mainspring.train.{module}"), name)

    return Parts(
        partial(part("run", "validate"), catalog, asks=first.asks),
        partial(part("run", "train"), catalog, checkpoint_s=first.checkpoint_s, asks=first.asks),
        partial(part("export", "register"), catalog, project=project),
    )  # fmt: skip


class Telling:
    """The `Reporter` of a job: what a trainer says, made into rows."""

    def __init__(self, keeper: Keeper, plan: Plan, register: Callable[[Made], str]) -> None:
        self._keeper, self._plan, self._register = keeper, plan, register
        self._step, self._steps = 0, 0

    def say(
        self, message: str, *, level: Literal["info", "warn", "error"] = "info", data: Mapping[str, Any] | None = None
    ) -> None:
        """See `plan.Reporter`. The same words after the same step are said once."""
        key = hashlib.sha256(f"{level}\0{message}".encode()).hexdigest()[:32]
        self._keeper.tell(Told(message=message, level=level, data=dict(data or {}), key=f"say:{self._step}:{key}"))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See `plan.Reporter`."""
        self._step = max(self._step, step)
        of = f"/{self._steps}" if self._steps else ""
        words = {"train_loss": "training loss", "valid_loss": "validation loss", "full_valid_loss": "full validation "
                 "loss", "reward": "reward"}  # fmt: skip
        shown = ", ".join(f"{words[name]}={value:.2f}" for name, value in values.items() if name in words)
        data = {"step": step, **({"total_steps": self._steps} if self._steps else {}), **values}
        message = f"Step {step}{of}: {shown}" if shown else f"Step {step}{of}"
        self._keeper.tell(Told(message=message, type="metrics", data=data, key=f"step:{step}"))

    def progress(self, progress: Progress) -> None:
        """See `plan.Reporter`."""
        self._step, self._steps = progress.step, progress.steps
        self._keeper.progress(progress)

    def made(self, made: Made) -> None:
        """See `plan.Reporter`."""
        keeper = self._keeper
        if keeper.wanted == "cancel":
            return
        version = self._register(made)
        name = self._plan.name if made.is_last else checkpoint_name(self._plan.name, made.step)

        async def keep() -> None:
            async with keeper.writing() as (connection, job):
                if job.status == "cancelled":
                    return
                now_s = keeper.clock.now()
                await add_checkpoint(
                    connection, job=job.id, step=made.step, name=name, version=version, metrics=made.metrics,
                    now_s=now_s,
                )  # fmt: skip
                said = Told(message=f"Checkpoint created at step {made.step}", key=f"checkpoint:{made.step}")
                await tell(connection, job.id, [said], now_s)

        keeper.insist(keep)

    def wanted(self) -> Wanted:
        """See `plan.Reporter`."""
        return self._keeper.wanted


class Work:
    """One job, and everything that its process needs."""

    def __init__(self, first: First, keeper: Keeper, job: Job, folder: Path) -> None:
        self._keeper, self._job, self._folder = keeper, job, folder
        self._home, self._first, self._spec = Path(first.home), first, spec_of(job)
        self._catalog = Catalog(self._home / "models")
        blobs = open_blobs(self._home, BlobSettings(**first.blobs))
        self._files = Files(keeper.database, blobs, keeper.clock)
        self._has_ended = False

    def run(self) -> None:
        """Whatever there is to do in the job's state; the job is given back when this returns."""
        keeper = self._keeper
        try:
            if self._job.status == "validating_files":
                self._validate()
            else:
                self._train()
        except LeaseLost:
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._wait_for_room()
        except StorageFull:
            self._wait_for_room()
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("mainspring"):
                raise
            self._fail(
                f"Training needs the package {error.name}: whoever runs the server installs 'mainspring[train]'.",
                "training_unavailable", None,
            )  # fmt: skip
        except (InvalidRequest, NotFound, UserMistake, EngineUnavailable) as error:  # another attempt would end alike
            self._fail(error.message, error.code, error.param)
        finally:
            keeper.stop()
        if keeper.wanted == "cancel" or self._has_ended:
            _clean(self._folder)

    def _plan(self) -> Plan:
        of = self._spec
        training = self._data(of.training, "training.jsonl")
        validation = None if of.validation is None else self._data(of.validation, "validation.jsonl")
        return plan_of(self._job, training, validation)

    def _data(self, file: FileOf, name: str) -> Data:
        """The content on this machine, for as long as the job is there, whatever becomes of the file."""
        path = self._folder / name
        if not path.exists():
            found = self._keeper.insist(lambda: self._files.get(self._job.project, file.id))
            source, part = self._keeper.insist(lambda: self._files.local(found)), path.with_suffix(".part")
            part.unlink(missing_ok=True)
            try:
                part.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, part)
            part.replace(path)
        return Data(path=str(path), sha256=file.sha256)

    def _validate(self) -> None:
        plan, parts = self._plan(), _parts(self._first, self._catalog, self._job.project)
        for data, kind in ((plan.training, "Training"), (plan.validation, "Validation")):
            if data is not None:
                _check_count(Path(data.path), kind)
        parts.validate(plan, self._folder, Telling(self._keeper, plan, lambda _: ""))
        said = Told(message="Files validated, moving job to queued state", key="validated")
        self._keeper.insist(lambda: self._keeper.give_back(told=(said,), status="queued"))

    def _train(self) -> None:
        keeper, plan, parts = (
            self._keeper,
            self._plan(),
            _parts(self._first, self._catalog, self._job.project),
        )
        if self._job.state.get("step"):
            said = Told(message="Fine-tuning job goes on from its last checkpoint", key=f"on:{keeper.lease.number}")
        else:
            said = Told(message="Fine-tuning job started", key="started")
        keeper.tell(said)

        def register(made: Made) -> str:
            version = parts.register(plan, made)
            return "" if version is None else version.id

        outcome = parts.train(plan, self._folder, Telling(keeper, plan, register))
        if outcome.end == "done":
            self._finish(outcome)
        else:
            # A pause is the owner's word, which is in the row already; whoever makes way waits for the next turn.
            keeper.insist(lambda: keeper.give_back(**self._made_way(outcome)))

    def _made_way(self, outcome: Outcome) -> dict[str, Any]:
        if outcome.end != "yield":
            return {"status": "queued"}  # unless it is paused or cancelled, as it is if nobody has resumed it since
        said = Told(
            message="Fine-tuning job stopped at a checkpoint to make way; it goes on by itself",
            key=f"way:{self._keeper.lease.number}",
        )
        return {"status": "queued", "told": (said,)}

    def _finish(self, outcome: Outcome) -> None:
        keeper, job, name = self._keeper, self._job, self._spec.name
        if keeper.wanted == "cancel":
            keeper.insist(keeper.give_back)
            return

        async def results() -> list[dict[str, Any]]:
            await keeper.flush()
            async with keeper.database.read() as connection:
                return await metric_events(connection, job.id)

        metrics = keeper.insist(results)
        file = keeper.insist(lambda: self._results_file(results_csv(metrics)))
        for each in self._spec.integrations:
            said = report_to_wandb(self._folder / "wandb", job.id, self._spec.model, each, metrics)
            keeper.tell(Told(message=said, key=f"wandb:{each.project}"[:80]))
        last = (
            Told(message=f"New fine-tuned model created: {name}", key="created"),
            Told(message="The job has successfully completed", key="completed"),
        )
        state = {"trained_tokens": outcome.tokens, "fine_tuned_model": name, "result_files": [file.id]}
        keeper.insist(lambda: keeper.give_back(status="succeeded", finished=keeper.clock.now(), state=state, told=last))
        self._has_ended = True

    async def _results_file(self, content: bytes) -> File:
        """The file of results; the one that an earlier process made, if it died before it could say so."""
        mine, _ = await self._files.list(self._job.project, purpose="fine-tune-results", limit=100)
        for file in mine:
            if file.creator == self._job.id and file.sha256 == hashlib.sha256(content).hexdigest():
                return file

        async def stream() -> AsyncIterator[bytes]:
            yield content

        return await self._files.create(
            project=self._job.project, purpose="fine-tune-results", filename="results.csv", stream=stream(),
            by=self._job.id,
        )  # fmt: skip

    def _wait_for_room(self) -> None:
        keeper = self._keeper
        said = Told(
            message="The disk is full: the job goes on from its last checkpoint as soon as there is room", level="warn",
            key=f"full:{self._job.state.get('step', 0)}",
        )  # fmt: skip
        when_s = keeper.clock.now() + FULL_RETRY_S
        keeper.insist(lambda: keeper.give_back(not_before=when_s, told=(said,)))

    def _fail(self, message: str, code: str, param: str | None) -> None:
        keeper, error = self._keeper, {"code": code, "message": message, "param": param}
        said = Told(message=f"The job failed: {message}", level="error", key="failed")
        keeper.insist(lambda: keeper.give_back(status="failed", error=error, finished=keeper.clock.now(), told=(said,)))
        self._has_ended = True


def _clean(folder: Path) -> None:
    """Remove what only a job that goes on needs. What it made is in the catalog; what it told stays."""
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _check_count(path: Path, kind: str) -> None:
    with path.open("rb") as file:
        count = sum(1 for line in file if line.strip())
    if count < MIN_EXAMPLES:
        raise InvalidRequest(
            f"{kind} file has {count} example(s), but must have at least {MIN_EXAMPLES} examples",
            code="invalid_n_examples", param=f"{kind.lower()}_file",
        )  # fmt: skip


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Nobody else writes in the folder. Who still does has lost its lease, perhaps without having noticed, because it
    was stopped for longer than that lasts: it is ended."""
    import fcntl

    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _end_holder(os.pread(descriptor, 300, 0).decode())
                time.sleep(0.05)
            else:
                break
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{socket.gethostname()} {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _end_holder(written: str) -> None:
    """End the process that a lock's file names, if it is one of ours and on this machine: numbers are used again."""
    host, _, pid = written.partition(" ")
    if host == socket.gethostname() and pid.isdecimal():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if "mainspring.train.job" in process.cmdline():
                process.kill()


def main() -> int:
    """Entry point of the process; its exit code. Anything but 0 means that the job was not given back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to act on
    log.configure()
    first = msgspec.json.decode(sys.stdin.buffer.readline(), type=First)
    make_way(NICE)
    os.environ.setdefault("OMP_WAIT_POLICY", WAITING)  # read when PyTorch is loaded, which is later
    folder = Path(first.home) / FOLDER / first.job
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lease = Lease(first.job, first.owner, first.number)

    async def open_database() -> Database:
        return await Database.open(Path(first.home), first.database)

    with _alone(folder):
        keeper = Keeper(open_database, SystemClock(), lease, folder, lease_s=first.lease_s)

        def on_terminate(_signal: int, _frame: object) -> None:
            keeper.ask_to_stop()

        signal.signal(signal.SIGTERM, on_terminate)
        threading.Thread(target=_until_end, args=(keeper.ask_to_stop,), daemon=True).start()
        try:
            Work(first, keeper, keeper.start(), folder).run()
        except LeaseLost:
            return LOST
        except MainspringError as error:
            _log.error("a fine-tuning job broke off", job=first.job, error=error.message)
            return 3
        except Exception:  # noqa: BLE001 - whoever started this process counts its failures
            _log.exception("a fine-tuning job broke off", job=first.job)
            return 1
    return 0


def _until_end(then: Callable[[], None]) -> None:
    """Call `then` when the standard input ends. Not through `sys.stdin`, whose lock would be held at the exit."""
    while os.read(0, 4096):
        pass
    then()


if __name__ == "__main__":
    sys.exit(main())
