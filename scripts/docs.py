"""Writes docs/CLI.md and docs/CONFIGURATION.md from the commands and the settings themselves, and the table of roles
in docs/IDENTITY.md.

    python scripts/docs.py [--check]

With --check nothing is written and a page that has drifted is an error. tests/unit/cli/test_docs.py does the same.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer.main

from mainspring.cli.main import app
from mainspring.core.config import settings_table
from mainspring.governance.roles import AZURE_NAMES, PERMISSIONS, ROLES, Permission

DOCS = Path(__file__).parents[1] / "docs"

GENERATED = "<!-- Written by scripts/docs.py: change the code, then run it again. -->"

IDENTITY = ("<!-- roles: written by scripts/docs.py -->", "<!-- /roles -->")

CLI = """# The command line

{generated}

`scripts/up` in a clone installs Mainspring and runs `mainspring up`; arguments pass through. Every command has
`--help`. What data a command prints goes to standard output (as JSON with `--json`), remarks and errors to standard
error.

Exit codes: 0 success, 1 the answer is no (`doctor` found a failure), 2 a mistake (one sentence says the fix),
130 interrupted.
"""

CONFIGURATION = """# Settings

{generated}

Settings come from `mainspring.toml` in the data directory, then from the environment, then from the command line; the
later wins. In the environment, `MAINSPRING_SERVER__PORT=8123` sets `server.port`. A key that does not exist is an
error.

```toml
models = ["smollm2-135m-instruct"]

[server]
port = 8123
```

The data directory is `--home`, `MAINSPRING_HOME`, or `~/.mainspring` (`home` itself cannot be set in the file, which
lies in it).

| setting | type | default | meaning |
|---|---|---|---|
{rows}
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(param: Any) -> str:
    shown = param.show_default
    if isinstance(shown, str):
        return shown
    return "" if param.default is None or param.is_flag else str(param.default)


def _params(command: Any) -> Iterator[str]:
    for param in command.params:
        if param.name == "help" or param.hidden:
            continue
        is_option = param.param_type_name == "option"
        name = ", ".join(param.opts) if is_option else (param.metavar or param.name).upper()
        default = _default(param) if is_option else "" if param.required else "optional"
        yield f"| `{name}` | {_cell(param.help or '')} | {_cell(default)} |"


def _command(path: str, command: Any) -> Iterator[str]:
    if subcommands := getattr(command, "commands", None):
        for name, each in subcommands.items():
            yield from _command(f"{path} {name}", each)
        return
    yield f"\n## {path}\n"
    yield inspect.cleandoc(command.help or "")
    if rows := list(_params(command)):
        yield "\n| argument | meaning | default |\n|---|---|---|"
        yield from rows


def _roles() -> Iterator[str]:
    """What each role may do, with Azure's names."""
    yield f"| | {' | '.join(f'`{role}`' for role in ROLES)} |"
    yield "|---|" + "---|" * len(ROLES)
    yield f"| Azure's name | {' | '.join(AZURE_NAMES.get(role, ('',))[0] for role in ROLES)} |"
    for permission in get_args(Permission):
        marks = ("yes" if permission in PERMISSIONS[role] else "" for role in ROLES)
        yield f"| `{permission}` | {' | '.join(marks)} |"


def _between(text: str, start: str, end: str, rows: Iterator[str]) -> str:
    """The text with what stands between two lines replaced."""
    before, _, rest = text.partition(f"{start}\n")
    return "\n".join([before + start, "", *rows, "", end + rest.partition(end)[2]])


def pages() -> dict[Path, str]:
    """Every generated page and what it should hold."""
    cli = "\n".join([CLI.format(generated=GENERATED).rstrip(), *_command("mainspring", typer.main.get_command(app))])
    rows = "\n".join(
        f"| `{key}` | {_cell(kind)} | `{_cell(default)}` | {_cell(meaning)} |"
        for key, kind, default, meaning in settings_table()
        if key != "home"
    )
    configuration = CONFIGURATION.format(generated=GENERATED, rows=rows)
    identity = _between((DOCS / "IDENTITY.md").read_text("utf-8"), *IDENTITY, _roles())
    return {
        DOCS / "CLI.md": cli + "\n",
        DOCS / "CONFIGURATION.md": configuration,
        DOCS / "IDENTITY.md": identity,
    }


def drifted() -> list[str]:
    """Names of the pages on the disk that differ from what they should hold."""
    return [path.name for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]


def main(arguments: list[str]) -> int:
    """Write or check; the exit code."""
    if "--check" in arguments:
        wrong = drifted()
        for name in wrong:
            print(f"docs/{name} has drifted: run `python scripts/docs.py`.", file=sys.stderr)
        return int(bool(wrong))
    for path, text in pages().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
