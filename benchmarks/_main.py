"""What the programs have in common: arguments, the model's file, and figures as JSON."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(
    name: str,
    doc: str,
    run: Callable[[argparse.Namespace], Coroutine[Any, Any, Any]],
    *,
    needs_model: bool = True,
    runner: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run,
    **defaults: float | str,
) -> None:
    """Parse, run, keep the figures. The status is 0 even if a target was missed: a benchmark reports.

    Args:
        doc: its first line says what the program does.
        needs_model: it has the options --threads and --model, and stops without a file.
        runner: what runs the coroutine: another event loop's `run`.
        defaults: its other options besides --json, by name.
    """
    parser = argparse.ArgumentParser(prog=f"scripts/bench {name}", description=doc.split("\n", maxsplit=1)[0])
    for option, default in defaults.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    if needs_model:
        parser.add_argument("--threads", type=int, default=2)
        parser.add_argument("--model", type=Path, default=os.environ.get("MAINSPRING_TEST_MODEL"), help="a GGUF file")
    options = parser.parse_args()
    if needs_model and (options.model is None or not options.model.is_file()):
        sys.exit("Name a model file: --model FILE, or run scripts/bench, which fetches the default one.")
    result = runner(run(options))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
