"""What there is before anything was made: SKUs of accounts, free names, and content filters."""

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.control.accounts import KIND, SKU, SkuName
from mainspring.api.control.arm import PROVIDER, Arm, Body, Call, Resource, answer
from mainspring.api.services import Services
from mainspring.core.errors import NotFound
from mainspring.governance.control import Control
from mainspring.governance.filters.policy import GRADED, NAMES, SOURCES

__all__ = [
    "AccountSkuList",
    "ContentFilterList",
    "ContentFilterResource",
    "DomainAvailability",
    "DomainBody",
    "OfferRoutes",
    "ResourceSkuList",
    "SkuAvailabilityBody",
    "SkuAvailabilityList",
]


class DomainBody(Body):
    """A name that an account may be given."""

    subdomain_name: str
    type: str
    kind: str | None = None


class SkuAvailabilityBody(Body):
    """SKUs of accounts."""

    skus: list[str]
    kind: str
    type: str


class AccountSku(Arm, frozen=True, kw_only=True):
    """A SKU that an account could have."""

    resource_type: str
    sku: SkuName


class AccountSkuList(Arm, frozen=True, kw_only=True):
    """All of them."""

    value: list[AccountSku]


class ResourceSku(Arm, frozen=True, kw_only=True):
    """A SKU, and where there is it."""

    resource_type: str
    name: str
    tier: str
    kind: str
    locations: list[str]
    restrictions: list[str]


class ResourceSkuList(Arm, frozen=True, kw_only=True):
    """All of them."""

    value: list[ResourceSku]


class DomainAvailability(Arm, frozen=True, kw_only=True):
    """Whether a name is free."""

    is_subdomain_available: bool
    subdomain_name: str
    type: str
    kind: str | None = None
    reason: str | None = None


class SkuAvailability(Arm, frozen=True, kw_only=True):
    """Whether there is a SKU."""

    kind: str
    type: str
    sku_name: str
    sku_available: bool
    reason: str | None = None
    message: str | None = None


class SkuAvailabilityList(Arm, frozen=True, kw_only=True):
    """For each that was asked for."""

    value: list[SkuAvailability]


class ContentFilterProperties(Arm, frozen=True, kw_only=True):
    """A content filter: whether what it finds has a severity, and where it looks."""

    name: str
    is_multi_level_filter: bool
    source: str


class ContentFilterResource(Resource, frozen=True, kw_only=True):
    """A content filter."""

    properties: ContentFilterProperties


class ContentFilterList(Arm, frozen=True, kw_only=True):
    """All of them."""

    value: list[ContentFilterResource]


class OfferRoutes:
    """The handlers."""

    def __init__(self, services: Services, control: Control) -> None:
        self._services, self._control = services, control
        self._location = services.region

    async def skus(self, http: Request) -> Response:
        """The SKUs of accounts."""
        Call(http, self._control)
        sku = ResourceSku(
            resource_type="accounts", name=SKU, tier="Standard", kind=KIND, locations=[self._location], restrictions=[]
        )
        return answer(ResourceSkuList(value=[sku]))

    async def account_skus(self, http: Request) -> Response:
        """The SKUs that an account could have."""
        await Call(http, self._control).found()
        return answer(AccountSkuList(value=[AccountSku(resource_type=f"{PROVIDER}/accounts", sku=SkuName(name=SKU))]))

    async def check_sku(self, http: Request) -> Response:
        """Whether there are SKUs."""
        body = await read_body(http, SkuAvailabilityBody, self._services.max_body_bytes)
        value: list[SkuAvailability] = []
        for name in body.skus:
            there = name == SKU
            why = {} if there else {"reason": "NotAvailableForSubscription", "message": f"The only SKU is {SKU}."}
            value.append(SkuAvailability(kind=body.kind, type=body.type, sku_name=name, sku_available=there, **why))
        return answer(SkuAvailabilityList(value=value))

    async def check_domain(self, http: Request) -> Response:
        """Whether an account could have a name."""
        body = await read_body(http, DomainBody, self._services.max_body_bytes)
        why = await self._control.projects.why_not(body.subdomain_name)
        return answer(
            DomainAvailability(
                is_subdomain_available=why is None, subdomain_name=body.subdomain_name, type=body.type, kind=body.kind,
                reason=why,
            )
        )  # fmt: skip

    # -- content filters -----------------------------------------------------------------------------------------------

    async def content_filters(self, http: Request) -> Response:
        """Every content filter, once for each direction that it can look in."""
        call = Call(http, self._control)
        return answer(ContentFilterList(value=list(_content_filters(call).values())))

    async def content_filter(self, http: Request) -> Response:
        """One content filter."""
        call = Call(http, self._control)
        found = _content_filters(call).get(call.path["filterName"].lower())
        if found is None:
            names = ", ".join(each.name for each in _content_filters(call).values())
            raise NotFound(f"There is no such content filter. There are {names}.")
        return answer(found)


def _content_filters(call: Call) -> dict[str, ContentFilterResource]:
    place = f"/subscriptions/{call.path['subscriptionId']}/providers/{PROVIDER}/locations/{call.path['location']}"
    found: dict[str, ContentFilterResource] = {}
    for category, name in NAMES.items():
        for source in SOURCES.get(category, ("Prompt", "Completion")):
            key = f"{name.replace(' ', '')}.{source}"
            found[key.lower()] = ContentFilterResource(
                id=f"{place}/raiContentFilters/{key}",
                name=key,
                type=f"{PROVIDER}/locations/raiContentFilters",
                properties=ContentFilterProperties(name=name, is_multi_level_filter=category in GRADED, source=source),
            )
    return found
