"""LoRA adapters in llama.cpp: loaded beside the model, and applied to whole steps.

Loading touches nothing that a step uses, so it may happen in another thread meanwhile; all else is between steps.
"""

import ctypes as c
import os
from collections import OrderedDict

from mainspring.core.errors import EngineUnavailable
from mainspring.core.types import Adapter
from mainspring.engine.llama.binding import Library

__all__ = ["Adapters"]


class Adapters:
    """Those of one model.

    Args:
        most: how many stay loaded; more do while requests use them.
    """

    def __init__(self, lib: Library, model: int, context: int, most: int) -> None:
        self._lib, self._model, self._context, self._most = lib, model, context, most
        self._loaded: OrderedDict[str, int] = OrderedDict()  # id -> handle, least recently asked for first
        self._used: str | None = None  # by the context

    def load(self, adapter: Adapter) -> None:
        """See `Adapts.load_adapter`."""
        handle = self._loaded.pop(adapter.id, None)
        if handle is None:
            handle = self._lib.adapter_lora_init(self._model, os.fsencode(adapter.path))
        if not handle:
            raise EngineUnavailable(
                f"The adapter {adapter.id} does not load: it is damaged, or belongs to another model. Remove it and "
                "pull it again."
            )
        self._loaded[adapter.id] = handle

    def use(self, name: str | None) -> None:
        """Compute the next steps with this one. A change costs milliseconds: the library plans its memory anew."""
        if name == self._used:
            return
        handles = (c.c_void_p * 1)(self._loaded[name] if name else None)
        scales = (c.c_float * 1)(1.0)
        status: int = self._lib.set_adapters_lora(self._context, handles, 1 if name else 0, scales)
        if status != 0:
            raise RuntimeError(f"llama_set_adapters_lora returned {status}")
        self._used = name

    def drop(self, keep: set[str]) -> None:
        """See `Adapts.drop_adapters`."""
        for name in list(self._loaded):
            if len(self._loaded) <= self._most:
                return
            if name in keep:
                continue
            if name == self._used:
                self.use(None)
            self._lib.adapter_lora_free(self._loaded.pop(name))

    def close(self) -> None:
        """Free all; the context is gone, the model not yet."""
        for handle in self._loaded.values():
            self._lib.adapter_lora_free(handle)
        self._loaded.clear()
