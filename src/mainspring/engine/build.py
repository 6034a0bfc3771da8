"""What a replica says of the program that computes in it: enough to tell whether another one rounds in the same way."""

from mainspring.core.config import EngineSettings
from mainspring.core.receipt import EngineBuild
from mainspring.models.prepared import machine

__all__ = ["build_of"]

_DECISIVE = ("flash_attention", "kv", "prefill_tokens", "mixed_tokens", "max_running")
"""Settings that decide in which shapes, and thus with which rounding, sums are computed."""


def build_of(settings: EngineSettings) -> EngineBuild:
    """The library of `settings`, this processor, and what of the settings matters."""
    here = machine(settings)
    decisive = {name: getattr(settings, name) for name in _DECISIVE}
    # Another library has only a place in the file system, which is nobody's business: a hash names it.
    build = f"xllamacpp {here.library}" if settings.library is None else f"own library, {here.key}"
    return EngineBuild(
        name="llama.cpp", build=build, processor=here.processor,
        settings={"threads": settings.threads, **decisive},
    )  # fmt: skip
