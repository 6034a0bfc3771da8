"""What there is to serve: the catalog's models and adapters, and how a replica of each is started."""

import contextlib
import importlib.util
from pathlib import Path

import msgspec

from mainspring.core import log
from mainspring.core.config import Settings
from mainspring.core.errors import ModelNotFound, UserMistake
from mainspring.core.types import Adapter, ModelVersion
from mainspring.engine.footprint import footprint
from mainspring.engine.frames import ReplicaSpec
from mainspring.models import prepared
from mainspring.models.catalog import Catalog
from mainspring.models.weights import weights_of
from mainspring.serving.keeper import ModelSpec
from mainspring.serving.router import AdapterSpec, Offer

__all__ = ["Shelf"]

VLLM = "mainspring.engine.vllm"
"""Runs models in safetensors; it is given their folder, other programs a file."""


class Shelf:
    """What there is to serve: the models that the settings name, the rest of the catalog if they say so, and whatever
    version a deployment wants."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._seen: object = None
        self._offer = Offer(models={})

    def look(self, wanted: frozenset[str]) -> Offer:
        """See `router.Look`."""
        seen = self._catalog.fingerprint(), wanted
        if seen != self._seen:
            self._offer, self._seen = self._read(wanted), seen
        return self._offer

    def names(self) -> list[str]:
        """What the settings name, as models and adapters are called.

        Raises:
            UserMistake: one of them cannot be served here.
        """
        versions = [self._catalog.get(name) for name in self._settings.models]
        for version in versions:
            _program(version)
        return [version.name for version in versions]

    def _read(self, wanted: frozenset[str]) -> Offer:
        named = self._named(wanted)
        specs = {each.id: self._spec(each) for each in named.values() if _is_served(each)}
        models = {name: specs[each.id] for name, each in named.items() if each.id in specs}
        bases: dict[str, str] = {}
        for name, spec in models.items():
            bases.setdefault(spec.version.id, name)
        adapters = {
            name: AdapterSpec(
                version=each, adapter=Adapter(each.id, str(self._catalog.path(each))), base=bases[each.base]
            )
            for name, each in named.items()
            if each.is_adapter and each.kind != "reward" and each.base in bases
        }
        return Offer(models=models, adapters=adapters)

    def _named(self, wanted: frozenset[str]) -> dict[str, ModelVersion]:
        """What is offered, plain names before others."""
        every = self._catalog.list()
        ids = {each.id: each for each in every}
        newest: dict[str, ModelVersion] = {}
        for each in every:
            newest.setdefault(each.name, each)
        named: dict[str, ModelVersion] = {}
        for name in self._settings.models:
            with contextlib.suppress(ModelNotFound):  # removed while the server runs
                version = self._catalog.get(name)
                named[version.name] = version
        if self._settings.serving.catalog:
            named = {**named, **{name: each for name, each in newest.items() if name not in named}}
        for name in sorted(wanted, key=lambda name: ("@" in name, name)):
            if (version := newest.get(name) or ids.get(name)) is not None:
                named.setdefault(name, version)
                base = ids.get(version.base or "") if version.is_adapter else None
                if base is not None and base not in named.values():
                    named[base.id] = base
        return named

    def _spec(self, version: ModelVersion) -> ModelSpec:
        catalog, settings = self._catalog, self._settings

        def weights() -> tuple[Path, str]:
            return prepared.weights(catalog, version, settings.engine)

        def command(endpoint: str) -> tuple[list[str], bytes]:
            program = _program(version)
            path, why = weights()
            log.get().info("weights chosen", model=version.id, file=path.name, reason=why)
            spec = ReplicaSpec(
                model=str(path.parent if program == VLLM else path),
                endpoint=endpoint,
                settings=msgspec.Raw(settings.engine.model_dump_json().encode()),
                turn=str(settings.home / "compute.lock"),
                weights=weights_of(catalog, version, settings.engine),
            )
            return [program], msgspec.json.encode(spec) + b"\n"

        def estimate() -> int:
            others = [catalog.path(version, file) for file in version.files[1:]]
            return footprint(version, [weights()[0], *others], settings.engine)

        return ModelSpec(
            version=version,
            command=command,
            num_places=settings.engine.max_running + settings.engine.max_waiting,
            num_slots=settings.engine.max_running,
            estimate=estimate,
        )


def _is_served(version: ModelVersion) -> bool:
    return version.kind != "image" and not version.is_adapter


def _program(version: ModelVersion) -> str:
    """The program of a model's replicas. It is named and not imported: it would bring numpy into a process that
    computes nothing.

    Raises:
        UserMistake: it needs vLLM, which is not installed.
    """
    if version.kind == "embedding":
        return "mainspring.engine.embedding"
    if version.format == "gguf":
        return "mainspring.engine.process"
    if importlib.util.find_spec("vllm") is None:  # looked for and not imported: that takes ten seconds
        raise UserMistake(
            f"The model {version.name!r} is in safetensors, which vLLM serves, and vLLM is not installed: "
            "pip install 'mainspring[vllm]', or pull the model as GGUF."
        )
    return VLLM
