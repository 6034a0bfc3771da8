"""The python grader: the source runs in a sandbox, its number comes back as a file."""

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from mainspring.core.errors import EngineUnavailable, InvalidRequest, MainspringError
from mainspring.core.seams import RunCode
from mainspring.core.types import Ran
from mainspring.graders.definitions import Python
from mainspring.graders.result import GraderFailed

__all__ = ["check_source", "grade_python"]

MAX_DETAIL = 2000
_ENDED = {
    "timeout": "It took too long.",
    "cpu": "It used too much processor time.",
    "output": "It wrote too much output.",
    "disk": "It wrote too much to its folder.",
    "killed": "It was killed, most likely because it used too much memory.",
    "cancelled": "It was cancelled.",
}

# The source is a file of its own, so that its tracebacks show its own line numbers.
_PROGRAM = """
import json, sys
with open("given.json") as file:
    given = json.load(file)
space = {"__name__": "grader", "__file__": "grader.py"}
exec(compile(given["source"], "grader.py", "exec"), space)
grade = space.get("grade")
if not callable(grade):
    raise NameError("the source defines no function grade(sample, item)")
if "sample" in given:
    score = float(grade(given["sample"], given["item"]))
    with open("score.json", "w") as file:
        json.dump(score, file)
"""


async def grade_python(grader: Python, scope: Mapping[str, Any], run: RunCode | None) -> float:
    """What `grade(sample, item)` returns.

    Raises:
        GraderFailed: it raised, was ended, or returned no finite number; or there is no sandbox.
    """
    ran = await _run({"source": grader.source, "sample": scope["sample"], "item": scope["item"]}, run)
    if ran.ended or ran.exit_code:
        raise GraderFailed("python_grader_runtime_error", _why(ran))
    try:
        score = msgspec.json.decode(ran.files.get("score.json", b""), type=float)
    except (msgspec.DecodeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise GraderFailed("python_grader_runtime_error", "grade() returned no finite number.")
    return score


async def check_source(grader: Python, where: str, run: RunCode) -> None:
    """Run the source without grading anything.

    Raises:
        InvalidRequest: it does not compile, raises, or defines no function `grade`.
    """
    ran = await _run({"source": grader.source}, run)
    if ran.ended or ran.exit_code:
        raise InvalidRequest(f"Invalid '{where}': {_why(ran).strip().splitlines()[-1]}", param=where)


async def _run(given: dict[str, Any], run: RunCode | None) -> Ran:
    if run is None:
        raise GraderFailed("python_grader_server_error", "No code can be run here.", "sandbox_unavailable")
    try:
        body = json.dumps(given).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise GraderFailed("other_error", f"The item cannot be written as JSON: {error}.") from None
    try:
        return await run(_PROGRAM, files={"given.json": body})
    except InvalidRequest as error:  # too large
        raise GraderFailed("other_error", error.message) from None
    except MainspringError as error:
        code = "sandbox_unavailable" if isinstance(error, EngineUnavailable) else error.code
        raise GraderFailed("python_grader_server_error", error.message, code) from None


def _why(ran: Ran) -> str:
    said = ran.stderr.decode("utf-8", "replace")
    if ran.ended:
        return _ENDED[ran.ended]
    if ran.exit_code < 0:
        return f"It was ended by signal {-ran.exit_code}."
    # Frames of the program around it are nobody's business; the end of a traceback says most.
    first = said.find('  File "grader.py"')
    shown = f"Traceback (most recent call last):\n{said[first:]}" if first >= 0 else said
    return shown[-MAX_DETAIL:] or f"It ended with exit code {ran.exit_code}."
