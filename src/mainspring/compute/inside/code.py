"""Becoming the code that nobody trusts."""

import contextlib
import os
import random
import resource
import sys
import traceback

from mainspring.compute.inside import confine
from mainspring.compute.inside.isolation import TEMPORARY, WORK, Isolation, Json

__all__ = ["Code"]

THREADS = 64
"""How many threads and processes a sandbox may have, beside what was asked for: the wardens count too."""


class Code:
    """The last steps before code that nobody trusts. Everything here happens in its own process."""

    def __init__(self, isolation: Isolation, request: Json, box: str) -> None:
        self._isolation, self._request, self._box = isolation, request, box

    def become(self, descriptors: list[int]) -> None:
        """Take the descriptors as standard input, output and errors, put every limit on, and run. Never returns."""
        code = 1
        try:
            for place, descriptor in enumerate(descriptors):
                os.dup2(descriptor, place)
            os.setsid()
            memory = self._memory_bytes() + self._request["limits"]["memory_bytes"]
            os.closerange(3, 1 << 16)
            os.chdir(f"{self._box}/{WORK}")
            self._confine(memory)
            code = self._run()
        except BaseException as error:  # noqa: BLE001 - what the code raises is the code's, and is shown
            code = _report(error)
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _memory_bytes(self) -> int:
        return int(os.pread(self._isolation.statm, 64, 0).split()[0]) * resource.getpagesize()

    def _confine(self, memory_bytes: int) -> None:
        isolation, limits = self._isolation, self._request["limits"]
        is_program, forks = bool(self._request["argv"]), limits["processes"] > 1
        confine.drop_privileges()
        confine.die_with_parent()
        confine.limit(
            memory_bytes=memory_bytes, cpu_s=int(limits["cpu_s"]) + 1, file_bytes=limits["disk_bytes"],
            processes=THREADS + limits["processes"] if isolation.alone else None,
        )  # fmt: skip
        if "landlock" in isolation.layers:
            confine.landlock(isolation.config["readable"], isolation.config["listed"], (self._box,))
        if "seccomp" in isolation.layers:
            confine.seccomp(forks=forks and isolation.alone, starts=is_program or forks, alone=isolation.alone)

    def _run(self) -> int:
        environment = {
            "HOME": f"{self._box}/{WORK}", "TMPDIR": f"{self._box}/{TEMPORARY}", "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        if argv := self._request["argv"]:
            os.execvpe(argv[0], argv, environment)  # noqa: S606
        os.environ.clear()
        os.environ.update(environment)
        random.seed()  # the nursery's state is every child's otherwise
        if numbers := sys.modules.get("numpy.random"):
            numbers.seed()
        sys.argv = ["main.py"]
        sys.path.insert(0, f"{self._box}/{WORK}")
        space = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(self._request["code"], "main.py", "exec"), space)  # noqa: S102 - this is what it is for
        return 0


def _report(error: BaseException) -> int:
    """The exit code of code that ended so; its traceback goes to standard error, without what is ours in it."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    shown = error.__traceback__
    while shown is not None and shown.tb_frame.f_code.co_filename != "main.py":
        shown = shown.tb_next
    traceback.print_exception(type(error), error, shown)
    return 1
