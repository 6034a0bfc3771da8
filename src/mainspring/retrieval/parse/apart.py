"""Limits of a reader's process where there is no sandbox: those that the system knows."""

import sys
from typing import Any

__all__ = ["limit"]


def limit(process: dict[str, Any]) -> None:
    """Bound this process's memory, time and files, as far as the system can (Windows cannot)."""
    if sys.platform == "win32":
        return
    import resource

    # macOS takes a bound on the address space and does not keep it. Processor time has a second one a little later:
    # the first alone ends the process with a signal that says why.
    seconds = int(process["cpu_s"]) + 1
    memory, file = int(process["memory_bytes"]) + (1 << 30), int(process["disk_bytes"])
    bounds = {
        resource.RLIMIT_AS: (memory, memory),
        resource.RLIMIT_CPU: (seconds, seconds + 5),
        resource.RLIMIT_FSIZE: (file, file),
        resource.RLIMIT_CORE: (0, 0),
    }
    for kind, wanted in bounds.items():
        _, most = resource.getrlimit(kind)
        values = wanted if most == resource.RLIM_INFINITY else (min(wanted[0], most), min(wanted[1], most))
        try:
            resource.setrlimit(kind, values)
        except (ValueError, OSError):
            continue
