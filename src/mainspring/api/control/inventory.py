"""What can be deployed, and how much of it: models, and the quotas of the installation.

There is one place, whatever it is called: `locations/{location}` answers the same for every location.
"""

import math

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.control.accounts import KIND, SKU, SkuName
from mainspring.api.control.arm import PROVIDER, Arm, Body, Call, Resource, SystemData, answer, page
from mainspring.api.control.deployments import FORMAT, CapacityConfig, DeploymentModel, ModelBody, capabilities
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest, ModelNotFound
from mainspring.core.types import ModelVersion
from mainspring.governance.control import Control
from mainspring.governance.deploying import MAX_CAPACITY
from mainspring.governance.wanted import SKUS, UNIT_REQUESTS, UNIT_TOKENS, Snapshot

__all__ = [
    "AccountModelList",
    "CalculateBody",
    "CalculatedCapacity",
    "InventoryRoutes",
    "ModelCapacityList",
    "ModelList",
    "UsageList",
]


class WorkloadParameters(Body):
    """What the requests of a workload are like, in tokens."""

    avg_prompt_tokens: int = 0
    avg_generated_tokens: int = 0


class Workload(Body):
    """Requests of one kind."""

    request_per_minute: int = 0
    request_parameters: WorkloadParameters = WorkloadParameters()


class CalculateBody(Body):
    """How much is wanted of a model."""

    model: ModelBody
    sku_name: str
    workloads: list[Workload] = Field(default_factory=list[Workload])


class MetricName(Arm, frozen=True, kw_only=True):
    """A name for programs and for people."""

    value: str
    localized_value: str


class Usage(Arm, frozen=True, kw_only=True):
    """How much of a quota is used, in units of capacity."""

    name: MetricName
    unit: str
    current_value: float
    limit: float


class UsageList(Arm, frozen=True, kw_only=True):
    """A page of quotas."""

    value: list[Usage]
    next_link: str | None = None


class ModelSku(Arm, frozen=True, kw_only=True):
    """A SKU that a model can be deployed with."""

    name: str
    usage_name: str
    capacity: CapacityConfig


class AccountModel(Arm, frozen=True, kw_only=True):
    """A version of a model."""

    format: str
    name: str
    version: str
    is_default_version: bool
    max_capacity: int
    capabilities: dict[str, str]
    skus: list[ModelSku]
    lifecycle_status: str
    system_data: SystemData


class AccountModelList(Arm, frozen=True, kw_only=True):
    """A page of models."""

    value: list[AccountModel]
    next_link: str | None = None


class LocationModel(Arm, frozen=True, kw_only=True):
    """A version of a model, and the accounts that it is for."""

    model: AccountModel
    kind: str
    sku_name: str
    description: str | None = None


class ModelList(Arm, frozen=True, kw_only=True):
    """A page of models."""

    value: list[LocationModel]
    next_link: str | None = None


class ModelCapacityProperties(Arm, frozen=True, kw_only=True):
    """What is left of a model with a SKU, in units of capacity."""

    model: DeploymentModel
    sku_name: str
    available_capacity: float
    available_finetune_capacity: float


class ModelCapacity(Resource, frozen=True, kw_only=True):
    """What is left of a model with a SKU."""

    location: str
    properties: ModelCapacityProperties


class ModelCapacityList(Arm, frozen=True, kw_only=True):
    """A page of them."""

    value: list[ModelCapacity]
    next_link: str | None = None


class EstimatedCapacity(Arm, frozen=True, kw_only=True):
    """Units that are needed, and the next amount that there is."""

    value: int
    deployable_value: int


class CalculatedCapacity(Arm, frozen=True, kw_only=True):
    """What a workload needs."""

    model: DeploymentModel
    sku_name: str
    estimated_capacity: EstimatedCapacity


class InventoryRoutes:
    """The handlers."""

    def __init__(self, services: Services, control: Control) -> None:
        self._services, self._control = services, control
        self._location = services.region

    # -- models --------------------------------------------------------------------------------------------------------

    async def account_models(self, http: Request) -> Response:
        """What an account could deploy: all that is in the catalog."""
        call = Call(http, self._control)
        snapshot, project = await call.found()
        shown, link = page(call, self._control.models.usable(snapshot, project.name), "id")
        return answer(AccountModelList(value=[self._model(snapshot, each) for each in shown], next_link=link))

    async def models(self, http: Request) -> Response:
        """The same, for a location."""
        call = Call(http, self._control)
        snapshot = await self._control.projects.snapshot()
        shown, link = page(call, self._versions(call, snapshot), "id")
        models = [LocationModel(model=self._model(snapshot, each), kind=KIND, sku_name=SKU) for each in shown]
        return answer(ModelList(value=models, next_link=link))

    def _versions(self, call: Call, snapshot: Snapshot) -> list[ModelVersion]:
        """What the caller may know of: what belongs to nobody, and to projects that the caller has a role in."""
        seen = [name for name in snapshot.projects if call.may("models.read", name)]
        versions = self._control.versions()
        return [
            each
            for each in versions
            if each.project is None or any(snapshot.lets(name, each.name, each.project) for name in seen)
        ]

    def _model(self, snapshot: Snapshot, version: ModelVersion) -> AccountModel:
        newest = next(each for each in self._control.versions() if each.name == version.name)
        skus: list[ModelSku] = []
        for sku in SKUS:
            most = self._control.projects.room(snapshot, sku, version.name)[1]
            capacity = CapacityConfig(minimum=1, maximum=min(most, MAX_CAPACITY), step=1, default=1)
            skus.append(ModelSku(name=sku, usage_name=usage_name(sku, version.name), capacity=capacity))
        return AccountModel(
            format=FORMAT,
            name=version.name,
            version=version.version,
            is_default_version=version.version == newest.version,
            max_capacity=max(each.capacity.maximum for each in skus),
            capabilities=capabilities(version.kind, version.context_length),
            skus=skus,
            lifecycle_status="GenerallyAvailable",
            system_data=SystemData.of(version.created),
        )

    async def model_capacities(self, http: Request) -> Response:
        """What is left of a model, with each SKU."""
        call, query = Call(http, self._control), http.query_params
        name, wanted = query.get("modelName", ""), query.get("modelVersion", "")
        snapshot = await self._control.projects.snapshot()
        found = [each for each in self._versions(call, snapshot) if each.name == name and wanted in ("", each.version)]
        left = [self._capacity(call, snapshot, each, sku) for each in found for sku in SKUS]
        shown, link = page(call, left)
        return answer(ModelCapacityList(value=shown, next_link=link))

    def _capacity(self, call: Call, snapshot: Snapshot, version: ModelVersion, sku: str) -> ModelCapacity:
        used, most = self._control.projects.room(snapshot, sku, version.name)
        location, name = call.path.get("location", self._location), f"{sku}.{version.name}.{version.version}"
        place = f"/subscriptions/{call.path['subscriptionId']}/providers/{PROVIDER}/locations/{location}"
        return ModelCapacity(
            id=f"{place}/modelCapacities/{name}",
            name=name,
            type=f"{PROVIDER}/locations/modelCapacities",
            location=location,
            properties=ModelCapacityProperties(
                model=DeploymentModel(format=FORMAT, name=version.name, version=version.version),
                sku_name=sku,
                available_capacity=max(most - used, 0),
                available_finetune_capacity=0,
            ),
        )

    async def calculate(self, http: Request) -> Response:
        """How many units a workload needs."""
        call, snapshot = Call(http, self._control), await self._control.projects.snapshot()
        body = await read_body(http, CalculateBody, self._services.max_body_bytes)
        if body.sku_name not in SKUS:
            raise InvalidRequest(f"There is no SKU {body.sku_name[:40]!r}: use one of {', '.join(SKUS)}.", param="sku")
        name, version = body.model.name or "", body.model.version
        known = self._versions(call, snapshot)
        found = [each for each in known if each.name == name and version in (None, "", each.version)]
        if not found:
            raise ModelNotFound(f"The model {name[:100]!r} is not in the catalog.", param="model.name")
        requests = sum(each.request_per_minute for each in body.workloads)
        tokens = sum(
            each.request_per_minute
            * (each.request_parameters.avg_prompt_tokens + each.request_parameters.avg_generated_tokens)
            for each in body.workloads
        )
        units = math.ceil(tokens / UNIT_TOKENS)
        if SKUS[body.sku_name] != "provisioned":  # which counts no requests
            units = max(units, math.ceil(requests / UNIT_REQUESTS))
        model = DeploymentModel(format=FORMAT, name=found[0].name, version=found[0].version)
        estimated = EstimatedCapacity(value=units, deployable_value=max(units, 1))
        return answer(CalculatedCapacity(model=model, sku_name=body.sku_name, estimated_capacity=estimated))

    # -- quotas --------------------------------------------------------------------------------------------------------

    async def usages(self, http: Request) -> Response:
        """The quotas of the installation: for each model and SKU, the units that are deployed and that may be."""
        call = Call(http, self._control)
        snapshot = await self._control.projects.snapshot()
        return self._usages(call, snapshot, snapshot)

    async def account_usages(self, http: Request) -> Response:
        """Of the same quotas, what one account has deployed."""
        call = Call(http, self._control)
        snapshot, project = await call.found()
        own = Snapshot(deployments={key: each for key, each in snapshot.deployments.items() if key[0] == project.name})
        return self._usages(call, snapshot, own)

    def _usages(self, call: Call, snapshot: Snapshot, counted: Snapshot) -> Response:
        known = self._versions(call, snapshot)
        pools = {usage_name(sku, each.name): (sku, each.name) for each in known for sku in SKUS}
        names, link = page(call, [SkuName(name=name) for name in pools])
        value: list[Usage] = []
        for each in names:
            sku, model = pools[each.name]
            most = self._control.projects.room(snapshot, sku, model)[1]
            name = MetricName(value=each.name, localized_value=f"Units of capacity - {model} - {sku}")
            value.append(Usage(name=name, unit="Count", current_value=counted.used(sku, model), limit=most))
        return answer(UsageList(value=value, next_link=link))


def usage_name(sku: str, model: str) -> str:
    """What a quota is called."""
    return f"{FORMAT}.{sku}.{model}"
