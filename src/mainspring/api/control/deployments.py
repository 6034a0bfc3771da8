"""Deployments of the control plane.

A change acts at once; what may take time is loading a provisioned deployment's model, and until it is there the
resource's provisioningState is Creating, which clients poll.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.control.accounts import SkuBody, SkuName
from mainspring.api.control.arm import PROVIDER, Arm, Body, Call, Resource, SystemData, answer, empty, etag, page
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest, ModelNotFound
from mainspring.governance.control import Control
from mainspring.governance.deploying import MAX_CAPACITY
from mainspring.governance.directory import provisioning
from mainspring.governance.wanted import SKUS, Deployment, Project, State, Upgrade

__all__ = [
    "FORMAT",
    "CapacityConfig",
    "DeploymentBody",
    "DeploymentList",
    "DeploymentModel",
    "DeploymentResource",
    "DeploymentRoutes",
    "DeploymentSkuList",
]

FORMAT = "OpenAI"
"""Of every model: what its API looks like."""
POLL_S = 1


class ModelBody(Body):
    """A model of the catalog; without a version, the newest."""

    format: str | None = None
    name: str | None = None
    version: str | None = None


class DeploymentProperties(Body):
    """What a deployment is to be."""

    model: ModelBody | None = None
    version_upgrade_option: Upgrade | None = None
    rai_policy_name: str | None = None
    spillover_deployment_name: str | None = None
    dynamic_throttling_enabled: bool | None = None
    deployment_state: State | None = None


class DeploymentBody(Body):
    """A deployment: what is not said keeps its default, or with PATCH its value."""

    sku: SkuBody | None = None
    properties: DeploymentProperties | None = None


class DeploymentModel(Arm, frozen=True, kw_only=True):
    """A model of the catalog."""

    format: str
    name: str
    version: str


class ThrottlingRule(Arm, frozen=True, kw_only=True):
    """So many of something (`key`) in so many seconds."""

    key: str
    renewal_period: float
    count: float


class CallRateLimit(Arm, frozen=True, kw_only=True):
    """All of these at once."""

    rules: list[ThrottlingRule]


class DeploymentState(Arm, frozen=True, kw_only=True):
    """What is known of a deployment."""

    provisioning_state: str
    deployment_state: str
    model: DeploymentModel
    version_upgrade_option: str
    dynamic_throttling_enabled: bool
    current_capacity: int
    capabilities: dict[str, str]
    rate_limits: list[ThrottlingRule]
    call_rate_limit: CallRateLimit
    rai_policy_name: str | None = None
    spillover_deployment_name: str | None = None


class DeploymentResource(Resource, frozen=True, kw_only=True):
    """A deployment."""

    sku: SkuName
    properties: DeploymentState


class DeploymentList(Arm, frozen=True, kw_only=True):
    """A page of deployments."""

    value: list[DeploymentResource]
    next_link: str | None = None


class CapacityConfig(Arm, frozen=True, kw_only=True):
    """Which capacities there are."""

    minimum: int
    maximum: int
    step: int
    default: int


class SkuResource(Arm, frozen=True, kw_only=True):
    """A SKU that a deployment could have."""

    resource_type: str
    sku: SkuName
    capacity: CapacityConfig


class DeploymentSkuList(Arm, frozen=True, kw_only=True):
    """All of them."""

    value: list[SkuResource]


class DeploymentRoutes:
    """The handlers of deployments."""

    def __init__(self, services: Services, control: Control) -> None:
        self._services, self._control = services, control

    async def put(self, http: Request) -> Response:
        """Make a deployment, or change one: its size, its model, its policy."""
        call = Call(http, self._control)
        body = await read_body(http, DeploymentBody, self._services.max_body_bytes)
        snapshot, project = await call.found()
        old = snapshot.deployments.get((project.name, call.path["deploymentName"]))
        # Who resizes a deployment neither resumes it nor moves it, unless they say so.
        base = Deployment(
            project=project.name,
            name=call.path["deploymentName"],
            model=old.model if old else "",
            version=old.version if old else "",
            state=old.state if old else "Running",
        )
        named = body.properties.model.name if body.properties and body.properties.model else None
        if not named:
            at = "properties.model.name"
            raise InvalidRequest(f"Missing required parameter: '{at}'.", code="missing_required_parameter", param=at)
        return await self._deploy(call, project, _merged(base, body))

    async def patch(self, http: Request) -> Response:
        """Change what is given of a deployment."""
        call = Call(http, self._control)
        body = await read_body(http, DeploymentBody, self._services.max_body_bytes)
        project, old = await self._found(call)
        return await self._deploy(call, project, _merged(old, body))

    async def pause(self, http: Request) -> Response:
        """Refuse requests until it is resumed."""
        return await self._set_state(http, "Paused")

    async def resume(self, http: Request) -> Response:
        """Take requests again."""
        return await self._set_state(http, "Running")

    async def get(self, http: Request) -> Response:
        """One deployment."""
        call = Call(http, self._control)
        return self._answer(call, *await self._found(call))

    async def list(self, http: Request) -> Response:
        """The deployments of an account."""
        call = Call(http, self._control)
        snapshot, project = await call.found()
        shown, link = page(call, snapshot.of(project.name))
        value = [self._resource(call, project, each) for each in shown]
        return answer(DeploymentList(value=value, next_link=link))

    async def delete(self, http: Request) -> Response:
        """Delete a deployment. What it is answering is answered to the end."""
        call = Call(http, self._control)
        _, project = await call.found()
        return empty(200 if await call.projects.undeploy(project.name, call.path["deploymentName"]) else 204)

    async def skus(self, http: Request) -> Response:
        """What a deployment could be moved to."""
        call = Call(http, self._control)
        snapshot = (await call.found())[0]
        _, old = await self._found(call)
        value: list[SkuResource] = []
        for sku in SKUS:
            used, most = self._control.projects.room(snapshot, sku, old.model)
            room = most - used + (old.capacity if sku == old.sku else 0)
            capacity = CapacityConfig(minimum=1, maximum=max(min(room, MAX_CAPACITY), 0), step=1, default=1)
            value.append(SkuResource(resource_type=_TYPE, sku=SkuName(name=sku), capacity=capacity))
        return answer(DeploymentSkuList(value=value))

    async def _set_state(self, http: Request, state: State) -> Response:
        call = Call(http, self._control)
        project, old = await self._found(call)
        return await self._deploy(call, project, msgspec.structs.replace(old, state=state))

    async def _found(self, call: Call) -> tuple[Project, Deployment]:
        snapshot, project = await call.found()
        found = snapshot.deployments.get((project.name, call.path["deploymentName"]))
        if found is None:
            raise call.missing("deployments", call.path["deploymentName"])
        return project, found

    async def _deploy(self, call: Call, project: Project, wanted: Deployment) -> Response:
        deployment, is_new = await call.projects.deploy(wanted)
        return self._answer(call, project, deployment, 201 if is_new else 200)

    def _answer(self, call: Call, project: Project, deployment: Deployment, status: int = 200) -> Response:
        resource = self._resource(call, project, deployment)
        done = resource.properties.provisioning_state in ("Succeeded", "Failed")
        return answer(resource, status, None if done else {"retry-after": str(POLL_S)})

    def _resource(self, call: Call, project: Project, deployment: Deployment) -> DeploymentResource:
        return DeploymentResource(
            id=f"{call.account_id(project)}/deployments/{deployment.name}",
            name=deployment.name,
            type=_TYPE,
            system_data=SystemData.of(deployment.created, deployment.updated),
            etag=etag(deployment),
            sku=SkuName(name=deployment.sku, capacity=deployment.capacity),
            properties=self._state(deployment),
        )

    def _state(self, deployment: Deployment) -> DeploymentState:
        rules = _rules(deployment)
        return DeploymentState(
            provisioning_state=provisioning(deployment, self._served(deployment)),
            deployment_state=deployment.state,
            model=DeploymentModel(format=FORMAT, name=deployment.model, version=deployment.version),
            version_upgrade_option=deployment.upgrade,
            dynamic_throttling_enabled=deployment.dynamic,
            current_capacity=deployment.capacity,
            capabilities=self._capabilities(deployment),
            rate_limits=rules,
            call_rate_limit=CallRateLimit(rules=rules),
            rai_policy_name=deployment.policy or None,
            spillover_deployment_name=deployment.spillover or None,
        )

    def _served(self, deployment: Deployment) -> str:
        try:
            return self._control.status(deployment.served_as).state
        except ModelNotFound:  # its version has left the catalog
            return "failed"

    def _capabilities(self, deployment: Deployment) -> dict[str, str]:
        found = (each for each in self._control.versions() if each.id == deployment.served_as)
        return next((capabilities(each.kind, each.context_length) for each in found), dict[str, str]())


_TYPE = f"{PROVIDER}/accounts/deployments"


def capabilities(kind: str, context_length: int | None) -> dict[str, str]:
    """What can be done with a model, as Azure says it."""
    can = {
        "chatCompletion": kind == "chat",
        "completion": kind in ("chat", "completion"),
        "embeddings": kind == "embedding",
        "imageGenerations": kind == "image",
    }
    most = {"maxContextToken": str(context_length)} if context_length else {}
    return {name: "true" for name, does in can.items() if does} | most


def _rules(deployment: Deployment) -> list[ThrottlingRule]:
    """Requests are counted over ten seconds, tokens over a minute."""
    limits, rules = deployment.limits, list[ThrottlingRule]()
    if limits.requests_per_minute is not None:
        rules.append(ThrottlingRule(key="request", renewal_period=10, count=limits.requests_per_minute / 6))
    tokens = limits.tokens_per_minute or limits.provisioned_tokens_per_minute
    if tokens is not None:
        rules.append(ThrottlingRule(key="token", renewal_period=60, count=tokens))
    return rules


def _merged(base: Deployment, body: DeploymentBody) -> Deployment:
    """A deployment with what a body says of it."""
    sku, given = body.sku or SkuBody(), body.properties or DeploymentProperties()
    model = given.model or ModelBody()
    if model.format not in (None, FORMAT):
        raise InvalidRequest(
            f"The models here have the format {FORMAT!r}, and not {model.format[:40]!r}.",
            code="DeploymentModelNotSupported",
            param="properties.model.format",
        )
    version = model.version
    if not version and model.name and model.name != base.model:
        version = ""  # of another model, the newest
    elif not version:
        version = None
    said = {
        "sku": sku.name,
        "capacity": sku.capacity,
        "model": model.name,
        "version": version,
        "upgrade": given.version_upgrade_option,
        "policy": given.rai_policy_name,
        "spillover": given.spillover_deployment_name,
        "dynamic": given.dynamic_throttling_enabled,
        "state": given.deployment_state,
    }
    return msgspec.structs.replace(base, **{name: value for name, value in said.items() if value is not None})
