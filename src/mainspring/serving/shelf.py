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
from mainspring.serving.deployment import DeploymentSpec
from mainspring.serving.router import AdapterSpec, Offer

__all__ = ["Shelf"]

VLLM = "mainspring.engine.vllm"
"""Runs models in safetensors; it is given their folder, other programs a file."""


class Shelf:
    """What there is to serve: the models that the settings name, and the rest of the catalog if they say so."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog
        self._seen: object = None
        self._offer = Offer(deployments={})

    def look(self) -> Offer:
        """See `Router`."""
        seen = self._catalog.fingerprint()
        if seen != self._seen:
            self._offer, self._seen = self._read(), seen
        return self._offer

    def names(self) -> list[str]:
        """What the settings name, as deployments and adapters are called.

        Raises:
            UserMistake: one of them cannot be served here.
        """
        versions = [self._catalog.get(name) for name in self._settings.models]
        for version in versions:
            _program(version)
        return [version.name for version in versions]

    def _read(self) -> Offer:
        versions: dict[str, ModelVersion] = {}
        for name in self._settings.models:
            with contextlib.suppress(ModelNotFound):  # removed while the server runs
                version = self._catalog.get(name)
                versions[version.name] = version
        for version in self._catalog.list() if self._settings.serving.catalog else ():
            versions.setdefault(version.name, version)
        deployments = {each.name: self._spec(each) for each in versions.values() if _is_served(each)}
        bases = {spec.version.id: name for name, spec in deployments.items()}
        adapters = {
            each.name: AdapterSpec(
                version=each, adapter=Adapter(each.id, str(self._catalog.path(each))), base=bases[each.base]
            )
            for each in versions.values()
            if each.is_adapter and each.base in bases
        }
        return Offer(deployments=deployments, adapters=adapters)

    def _spec(self, version: ModelVersion) -> DeploymentSpec:
        catalog, settings = self._catalog, self._settings

        def weights() -> tuple[Path, str]:
            return prepared.weights(catalog, version, settings.engine)

        def command(endpoint: str) -> tuple[list[str], bytes]:
            program = _program(version)
            path, why = weights()
            log.get().info("weights chosen", deployment=version.name, file=path.name, reason=why)
            spec = ReplicaSpec(
                model=str(path.parent if program == VLLM else path),
                endpoint=endpoint,
                settings=msgspec.Raw(settings.engine.model_dump_json().encode()),
                turn=str(settings.home / "compute.lock"),
            )
            return [program], msgspec.json.encode(spec) + b"\n"

        def estimate() -> int:
            others = [catalog.path(version, file) for file in version.files[1:]]
            return footprint(version, [weights()[0], *others], settings.engine)

        return DeploymentSpec(
            name=version.name,
            version=version,
            command=command,
            num_places=settings.engine.max_running + settings.engine.max_waiting,
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
