"""Bounds on what a stranger's code may take."""

import contextlib
import ctypes
import threading
from collections.abc import Generator

__all__ = ["OutOfTime", "time_limit"]


class OutOfTime(Exception):
    """A `time_limit` was over."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Generator[None]:
    """Raise `OutOfTime` in the body once it has run for so long.

    It reaches Python code only, which is what templates compile to: a single call into C is not interrupted.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    guard, ended = threading.Lock(), False

    def interrupt() -> None:
        with guard:
            if not ended:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OutOfTime))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with guard:
            ended = True
        timer.cancel()
