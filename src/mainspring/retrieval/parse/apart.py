"""Limits of a reader's process where there is no sandbox: those that the system knows."""

import sys
from typing import Any

__all__ = ["limit"]


def limit(process: dict[str, Any]) -> None:
    """Bound this process's memory, time and files, as far as the system can (Windows cannot)."""
    if sys.platform == "win32":
        return
    import resource

    # macOS takes a bound on the address space and does not keep it.
    bounds = {
        resource.RLIMIT_AS: int(process["memory_bytes"]) + (1 << 30), resource.RLIMIT_CPU: int(process["cpu_s"]) + 1,
        resource.RLIMIT_FSIZE: int(process["disk_bytes"]), resource.RLIMIT_CORE: 0,
    }  # fmt: skip
    for kind, wanted in bounds.items():
        _, most = resource.getrlimit(kind)
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            continue
