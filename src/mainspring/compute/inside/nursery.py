"""The process that sandboxed code is born in: a warm interpreter, isolated once, that forks for each piece of code.

    server -- launcher -- nursery (process 1 of its own table) -- warden -- code (process 1 of another)

The launcher waits. The nursery loads what code will want to import and has no more in reach than code has. A warden
lives as long as one piece of code: it mounts the folder that the code may write to, starts it, kills it when a limit is
passed, and sends back what came of it. When the server ends, or lets go of a run, everything below ends with it.

Speaks over a socket pair on standard input: one JSON line says what became of the isolation, then each byte that
arrives carries a connection of its own, on which a request and its result are one JSON text each, its length before it;
and, if the code reads a file and its output is to be read as it comes, what will be its standard input and output.
"""

import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable

from mainspring.compute.inside import confine, warden
from mainspring.compute.inside.isolation import BOX, TEMPORARY, WORK, Isolation, Json

__all__ = ["main"]

LINKS = {"/tmp": f"{BOX}/{TEMPORARY}", "/mnt/data": f"{BOX}/{WORK}"}  # noqa: S108 - code expects the names


def main() -> None:
    """The launcher, then the nursery. `sys.argv[1]` is the configuration: see `sandbox.Sandbox`."""
    control = socket.socket(fileno=os.dup(0))
    config: Json = json.loads(sys.argv[1])
    os.setsid()
    os.umask(0o022)
    with contextlib.suppress(OSError):
        os.nice(5)
        _set("/proc/self/oom_score_adj", "1000")  # if memory runs out, this goes first
    # Held open: the nursery's change of root is the launcher's too.
    parent, scratch = os.path.split(config["scratch"])
    folder = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    isolation = Isolation(config)
    isolation.attempt("namespaces", confine.namespaces)
    child = os.fork()
    if child == 0:
        os.close(folder)
        _nurse(isolation, control)
        os._exit(0)
    control.close()
    os.close(0)
    _, status = os.waitpid(child, 0)
    shutil.rmtree(scratch, ignore_errors=True, dir_fd=folder)  # a server that was killed no longer can
    os._exit(os.waitstatus_to_exitcode(status) & 0x7F)


def _set(path: str, text: str) -> None:
    """Write a setting of this process."""
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)


def _nurse(isolation: Isolation, control: socket.socket) -> None:
    confine.die_with_parent()
    config = isolation.config
    confine.note_users()
    os.close(isolation.statm)
    isolation.statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    if isolation.alone:
        confine.enter_root(config["readable"], (BOX,), LINKS)
    _try_inner_layers(isolation)
    sys.path = [each for each in sys.path if each != config["root"]] + config["listed"]
    loaded = _preload(config["preload"])
    gc.collect()
    gc.freeze()
    said = {"layers": isolation.layers, "refused": isolation.refused, "loaded": loaded}
    control.sendall(json.dumps(said).encode() + b"\n")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # wardens are not waited for
    while True:
        sent, descriptors, _, _ = socket.recv_fds(control, 1, 3)
        if not sent:
            return
        if os.fork() == 0:
            control.close()
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            os._exit(warden.guard(isolation, socket.socket(fileno=descriptors[0]), descriptors[1:]))
        for descriptor in descriptors:
            os.close(descriptor)


def _try_inner_layers(isolation: Isolation) -> None:
    """Whether code will have the layers that only it gets: tried on a child, since they cannot be taken off."""
    for layer, apply in (
        ("landlock", lambda: confine.landlock(isolation.config["readable"], isolation.config["listed"], ())),
        ("seccomp", lambda: confine.seccomp(alone=isolation.alone)),
    ):

        def attempt(apply: Callable[[], None] = apply) -> None:
            child = os.fork()
            if child == 0:
                with contextlib.suppress(OSError):
                    apply()
                    os._exit(0)
                os._exit(1)
            if os.waitpid(child, 0)[1] != 0:
                raise OSError(1, "the kernel refused it")

        isolation.attempt(layer, attempt)


def _preload(names: list[str]) -> list[str]:
    loaded: list[str] = []
    for name in names:
        with contextlib.suppress(Exception):
            __import__(name)
            loaded.append(name)
    return loaded
