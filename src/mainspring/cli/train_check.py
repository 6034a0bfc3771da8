"""`mainspring train check`: what a job would say of its data, without starting one."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mainspring.cli.output import AsJson, Home, print_json, print_table, tell

if TYPE_CHECKING:
    from mainspring.train.check import FileReport, Report

__all__ = ["check"]

GEMM_SIZE = 1024
GEMM_ROUNDS = 3


def check(
    file: Annotated[Path, typer.Argument(help="The training file, JSON Lines.", metavar="FILE")],
    model: Annotated[
        str | None, typer.Option(help="The base model.", metavar="NAME", show_default="the embedded one")
    ] = None,
    validation: Annotated[Path | None, typer.Option(help="The validation file.", metavar="FILE")] = None,
    *,
    method: Annotated[
        Literal["supervised", "dpo", "reinforcement", "reward"], typer.Option(help="What it is for.")
    ] = "supervised",
    max_tokens: Annotated[
        int | None, typer.Option(min=16, help="Cut longer examples.", show_default="the model's context")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Look at training data without training: what is wrong, lengths, duplicates, and what "auto" would choose."""
    from mainspring.core import log
    from mainspring.core.config import DEFAULT_MODEL, home_from
    from mainspring.core.errors import UserMistake
    from mainspring.models.catalog import Catalog
    from mainspring.train.check import check as look
    from mainspring.train.examples import ExampleFile
    from mainspring.train.render import Renderer
    from mainspring.train.tokens import open_vocabulary, read_shape

    log.configure("warning")  # standard output is the report's
    for path in (file, validation):
        if path is not None and not path.is_file():
            raise UserMistake(f"There is no file {path}.")
    catalog = Catalog(home_from(home) / "models")
    version = catalog.ensure(model or DEFAULT_MODEL)
    vocabulary = open_vocabulary(catalog, version)
    shape = read_shape(catalog, version, vocabulary.num_tokens)
    context = version.context_length or 2048
    with tempfile.TemporaryDirectory(prefix="mainspring-check-") as folder:
        report = look(
            ExampleFile(file, method),
            ExampleFile(validation, method, name="validation file", param="validation_file") if validation else None,
            Renderer(vocabulary),
            Path(folder),
            max_tokens=min(max_tokens or context, context),
            shape=shape and shape._replace(rank=16, positions_per_s=_rate(shape.num_params)),
        ).report
    if as_json:
        print_json(report)
    else:
        _print(report)


def _rate(num_params: int) -> float:
    """Positions a second that this machine may train, from how fast it multiplies two matrices."""
    import time

    import numpy as np

    from mainspring.train.auto import guess_rate

    matrix = np.ones((GEMM_SIZE, GEMM_SIZE), np.float32)
    times: list[float] = []
    for _ in range(GEMM_ROUNDS):
        start = time.perf_counter()
        _ = matrix @ matrix
        times.append(time.perf_counter() - start)
    return guess_rate(num_params, 2 * GEMM_SIZE**3 / min(times))


def _print(report: "Report") -> None:
    files = [one for one in (report.training, report.validation) if one is not None]
    print_table(("", "training", "validation")[: 1 + len(files)], list(zip(*_columns(files), strict=True)))
    tell("")
    for message in report.messages()[1 + (report.validation is not None) :]:
        tell(message)


def _columns(files: "list[FileReport]") -> list[list[str]]:
    titles = ["examples", "trained on", "tokens", "tokens trained", "shortest", "mean", "median", "95 %", "longest"]
    titles += ["cut", "left out", "repeated", "with tools", "messages"]
    columns = [titles]
    for one in files:
        lengths = one.lengths
        counts = [one.examples, one.items, one.tokens, one.trained_tokens, lengths.min, round(lengths.mean)]
        counts += [lengths.p50, lengths.p95, lengths.max, one.cut, one.left_out, one.duplicates, one.with_tools]
        roles = ", ".join(f"{count:,} {role}" for role, count in one.roles.items())
        columns.append([*(f"{count:,}" for count in counts), roles or "none"])
    return columns
