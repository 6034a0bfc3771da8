"""`mainspring train`: fine-tune a model on the server that runs, over HTTP like everybody else."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core

from mainspring.cli.connect import BaseUrl, Key, connect
from mainspring.cli.output import AsJson, Home, ProgressBar, plain, print_json, print_table, tell
from mainspring.cli.train_check import check
from mainspring.core.errors import UserMistake

if TYPE_CHECKING:
    import rich.progress

    from mainspring.client import Client

__all__ = ["Watch", "app"]

LOOK_S = 1.0
ENDS = ("succeeded", "failed", "cancelled")
_Json = dict[str, Any]


class _Group(typer.core.TyperGroup):
    """`mainspring train FILE` is `mainspring train start FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    help="Fine-tune models: `mainspring train FILE` starts a job.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command()(check)

Id = Annotated[str, typer.Argument(help="Such as ftjob-abc123.", metavar="ID")]
Watching = Annotated[bool, typer.Option("--watch", help="Show how it goes until it ends. Ctrl-C leaves it running.")]
Auto = "what the job chooses"


@app.command()
def start(
    file: Annotated[
        str, typer.Argument(help="The training file, JSON Lines, or the id of one that was uploaded.", metavar="FILE")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="The base model, or a deployment.", metavar="NAME", show_default="the embedded one"),
    ] = None,
    *,
    validation: Annotated[str | None, typer.Option(help="The validation file, or its id.", metavar="FILE")] = None,
    method: Annotated[
        Literal["supervised", "dpo", "reinforcement", "reward"], typer.Option(help="How to train.")
    ] = "supervised",
    grader: Annotated[
        Path | None, typer.Option(help="Of reinforcement: a grader, as the API has it, in JSON.", metavar="FILE")
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="Part of the new model's name.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data, 1 to 50.", show_default=Auto)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step, 1 to 256.", show_default=Auto)] = None,
    learning_rate_multiplier: Annotated[
        float | None, typer.Option(help="Of the method's own rate.", show_default=Auto)
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Of dpo: how strongly to keep to the base.", show_default=Auto)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same model.", show_default="random")] = None,
    rank: Annotated[int | None, typer.Option(help="Of the adapter.", show_default=Auto)] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights instead of an adapter.")] = False,
    max_tokens: Annotated[
        int | None, typer.Option(help="Cut longer examples.", show_default="the model's context")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="End earlier than the epochs do.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first; above 0 is for administrators.")] = None,
    watch: Watching = False,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a file: upload it, start a job, and print the job's id. `start` may be left out."""
    from mainspring.core.config import DEFAULT_MODEL

    hyperparameters = {
        "n_epochs": epochs, "batch_size": batch_size, "learning_rate_multiplier": learning_rate_multiplier,
        "beta": beta,
    }  # fmt: skip
    options = {"rank": rank, "full": full or None, "max_tokens": max_tokens, "max_steps": max_steps}
    of: _Json = {"hyperparameters": _given(hyperparameters), **_given({"grader": _read(grader)})}
    with connect(home, base_url, key) as client:
        fields = {
            "model": model or DEFAULT_MODEL, "training_file": _file(client, file),
            "validation_file": _file(client, validation),
            "method": {"type": method, method: of}, "suffix": suffix, "seed": seed, "priority": priority,
            "options": _given(options) or None,
        }  # fmt: skip
        job = client.create_job(**_given(fields))
        if watch:
            if not as_json:
                typer.echo(plain(job["id"]))
            _watch(client, job["id"], as_json)
        else:
            _say(job, as_json, lambda: typer.echo(plain(job["id"])))


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs of the key's project, the newest first."""
    with connect(home, base_url, key) as client:
        found = [job for job, _ in zip(client.jobs(), range(limit), strict=False)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "model", "method", "status", "step", "created", "fine-tuned model"),
        [
            (each["id"], each["model"], each["method"]["type"], each["status"], _steps(each),
             _time(each["created_at"]), each["fine_tuned_model"] or "")
            for each in found
        ],
    )  # fmt: skip


@app.command()
def show(job_id: Id, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """Show a job and its checkpoints."""
    with connect(home, base_url, key) as client:
        job = client.job(job_id)
        checkpoints = list(client.job_checkpoints(job_id))
    if as_json:
        print_json({**job, "checkpoints": checkpoints})
        return
    for name, value in job.items():
        shown = _time(value) if name.endswith(("_at", "_finish")) and value else value
        if value not in (None, [], {}) and name != "object":
            typer.echo(plain(f"{name}: {shown if isinstance(shown, str) else json.dumps(shown)}"))
    for each in reversed(checkpoints):
        metrics = ", ".join(f"{name}={value:.4g}" for name, value in each["metrics"].items() if name != "step")
        typer.echo(plain(f"step {each['step_number']}: {each['fine_tuned_model_checkpoint']} {metrics}"))


@app.command()
def events(
    job_id: Id,
    watch: Watching = False,
    *,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Print what happened to a job, the oldest first."""
    with connect(home, base_url, key) as client:
        if watch:
            _watch(client, job_id, as_json)
            return
        found = list(client.job_events(job_id))[::-1]
    if as_json:
        print_json(found)
    else:
        for each in found:
            typer.echo(plain(f"{_time(each['created_at'])} {each['message']}"))


@app.command()
def pause(job_id: Id, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """Let a job rest: it writes a checkpoint and waits for `resume`."""
    _turn("pause", job_id, home, base_url, key, as_json)


@app.command()
def resume(job_id: Id, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """Let a paused job go on from its checkpoint."""
    _turn("resume", job_id, home, base_url, key, as_json)


@app.command()
def cancel(job_id: Id, base_url: BaseUrl = None, key: Key = None, home: Home = None, as_json: AsJson = False) -> None:
    """End a job for good. The checkpoints that it made stay."""
    _turn("cancel", job_id, home, base_url, key, as_json)


def _turn(  # noqa: PLR0917 - the options in their order
    verb: str, job_id: str, home: Home, base_url: BaseUrl, key: Key, as_json: bool
) -> None:
    with connect(home, base_url, key) as client:
        job = client.turn_job(job_id, verb)
    _say(job, as_json, lambda: typer.echo(plain(f"{job['id']} is {job['status']}.")))


def _say(job: _Json, as_json: bool, say: Callable[[], None]) -> None:
    if as_json:
        print_json(job)
    else:
        say()


def _given(fields: _Json) -> _Json:
    return {name: value for name, value in fields.items() if value is not None}


def _read(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserMistake(f"{path} is not JSON: {error}.") from error


def _file(client: "Client", named: str | None) -> str | None:
    """The id of a file, which is uploaded unless it is one already."""
    if named is None or (named.startswith("file-") and not Path(named).exists()):
        return named
    path = Path(named)
    if not path.is_file():
        raise UserMistake(f"{named} is not a file.")
    with path.open("rb") as file, ProgressBar(path.name) as progress:
        progress("uploading", 0, None)
        return str(client.upload(path.name, file, "fine-tune")["id"])


def _time(time_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def _steps(job: _Json) -> str:
    at = job.get("progress")
    return f"{at['step']}/{at['steps']}" if at else ""


# -- watching ----------------------------------------------------------------------------------------------------------


class Watch:
    """What has been shown of a job's events: each is shown once."""

    def __init__(self) -> None:
        self._newest: str | None = None
        self.loss: float | None = None

    def news(self, newest_first: Iterable[_Json]) -> list[_Json]:
        """The events that were not shown yet, oldest first; pages are asked for only as far as they are needed."""
        found: list[_Json] = []
        for event in newest_first:
            if event["id"] == self._newest:
                break
            found.append(event)
        if found:
            self._newest = found[0]["id"]
        for event in reversed(found):
            data: _Json = event.get("data") or {}
            self.loss = data.get("train_loss", data.get("reward", self.loss))
        return found[::-1]


def _watch(client: "Client", job_id: str, as_json: bool) -> None:
    """Show a job until it ends or Ctrl-C. Exits with 1 if it fails or is cancelled, with 130 after Ctrl-C."""
    seen = Watch()
    try:
        with _Bar() as bar:
            while True:
                job = client.job(job_id)  # before its events: those of its end are then among them
                for event in seen.news(client.job_events(job_id)):
                    if event["type"] == "message":
                        bar.say(event["message"])
                bar.show(job, seen.loss)
                if job["status"] in ENDS:
                    break
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        tell(
            f"The job goes on without you. `mainspring train events {job_id} --watch` comes back to it, "
            f"`mainspring train cancel {job_id}` ends it."
        )
        raise typer.Exit(130) from None
    _say(job, as_json, lambda: typer.echo(plain(job["fine_tuned_model"] or f"{job_id} has {job['status']}.")))
    if job["status"] != "succeeded":
        raise typer.Exit(1)


class _Bar:
    """Steps, loss, tokens a second and the time that is left, on a terminal; elsewhere only what is said."""

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None

    def __enter__(self) -> "_Bar":
        import sys

        if sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[detail]}", markup=False),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, message: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            from rich.text import Text

            self._bar.console.print(Text(plain(message)))
        else:
            tell(message)

    def show(self, job: _Json, loss: float | None) -> None:
        """How far the job is."""
        at = job.get("progress")
        if self._bar is None or at is None:
            return
        finish_s = job.get("estimated_finish")
        parts = [
            f"loss {loss:.3f}" if loss is not None else "",
            f"{at['tokens_per_s']:.0f} tokens/s",
            f"{_span(finish_s - time.time())} left" if finish_s else "",
        ]
        detail = "  ".join(filter(None, parts))
        if self._task is None:
            self._task = self._bar.add_task(job["status"], total=at["steps"], detail=detail)
        self._bar.update(self._task, description=job["status"], completed=at["step"], total=at["steps"], detail=detail)


def _span(seconds: float) -> str:
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
