"""What became of the isolation, which the processes inside hand down to one another."""

import os
from collections.abc import Callable
from typing import Any

__all__ = ["BOX", "TEMPORARY", "WORK", "Isolation", "Json"]

BOX = "/box"
"""The folder that code may write to, where it has files of its own: in it are these two."""
WORK, TEMPORARY = "work", "tmp"

Json = dict[str, Any]


class Isolation:
    """What the kernel granted. `statm` is open on this process's memory, which /proc does not show inside."""

    def __init__(self, config: Json) -> None:
        self.config = config
        self.layers: list[str] = []
        self.refused: dict[str, str] = {}
        self.statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def attempt(self, layer: str, apply: Callable[[], None]) -> None:
        """Apply a layer unless the configuration leaves it out; a refusal is noted."""
        if layer not in self.config["layers"]:
            self.refused[layer] = "not asked for"
            return
        try:
            apply()
            self.layers.append(layer)
        except OSError as error:
            self.refused[layer] = str(error)

    @property
    def alone(self) -> bool:
        """Whether there are namespaces."""
        return "namespaces" in self.layers
