"""The operations of the control plane as one table."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.control import accounts, deployments, inventory, offers, rai
from mainspring.api.control.arm import ACCOUNT, GROUP, PROVIDER, SUBSCRIPTION, Arm, answer
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.api.settled import settled
from mainspring.governance.control import Control
from mainspring.governance.roles import Permission

__all__ = ["control_operations"]

Handler = Callable[[Request], Awaitable[Response]]

LOCATION = f"{SUBSCRIPTION}/locations/{{location}}"
DEPLOYMENT = f"{ACCOUNT}/deployments/{{deploymentName}}"
POLICY = f"{ACCOUNT}/raiPolicies/{{raiPolicyName}}"
LIST = f"{ACCOUNT}/raiBlocklists/{{raiBlocklistName}}"
ITEM = f"{LIST}/raiBlocklistItems/{{raiBlocklistItemName}}"
MADE = (200, 201)


class OperationDisplay(Arm, frozen=True, kw_only=True):
    """An operation for people."""

    provider: str
    resource: str
    operation: str


class ArmOperation(Arm, frozen=True, kw_only=True):
    """Something that the control plane can do."""

    name: str
    is_data_action: bool
    display: OperationDisplay


class ArmOperationList(Arm, frozen=True, kw_only=True):
    """All of it."""

    value: list[ArmOperation]


def control_operations(services: Services, control: Control) -> list[Operation]:
    """Every operation, for the table of the application."""
    found = [
        *_accounts(services, control),
        *_deployments(services, control),
        *_policies(services, control),
        *_blocklists(services, control),
        *_inventory(services, control),
        *_offers(services, control),
    ]

    async def operations(_: Request) -> Response:
        return answer(ArmOperationList(value=_described(found)))

    path = f"/providers/{PROVIDER}/operations"
    found.append(
        _arm("GET", path, operations, "arm_operations_list", "List these operations", "projects.read", ArmOperationList)
    )
    return [replace(each, handler=settled(each.handler, control)) if each.method != "GET" else each for each in found]


def _arm(  # noqa: PLR0917 - the columns of a table
    method: str, path: str, handler: Handler, name: str, summary: str, needs: Permission,
    reply: type[msgspec.Struct] | None, body: type[BaseModel] | None = None, success: tuple[int, ...] = (200,),
    **more: Any,
) -> Operation:  # fmt: skip
    anywhere = "{accountName}" not in path
    return Operation(
        method=method, path=path, handler=handler, name=name, summary=summary, needs=needs, reply=reply, body=body,
        success=success, dialect="arm", anywhere=anywhere, **more,
    )  # fmt: skip


def _accounts(services: Services, control: Control) -> list[Operation]:
    routes, one, paged = accounts.AccountRoutes(services, control), accounts.Account, ("$skiptoken",)
    return [
        _arm("PUT", ACCOUNT, routes.put, "arm_accounts_put", "Make or change an account", "projects.write", one,
             accounts.AccountBody, MADE),
        _arm("PATCH", ACCOUNT, routes.patch, "arm_accounts_update", "Change an account", "projects.write", one,
             accounts.AccountBody),
        _arm("GET", ACCOUNT, routes.get, "arm_accounts_get", "Describe an account", "projects.read", one),
        _arm("DELETE", ACCOUNT, routes.delete, "arm_accounts_delete", "Delete an account", "projects.write", None,
             success=(200, 204)),
        _arm("GET", f"{GROUP}/accounts", routes.list, "arm_accounts_list_group", "List accounts of a resource group",
             "projects.read", accounts.AccountList, query=paged),
        _arm("GET", f"{SUBSCRIPTION}/accounts", routes.list, "arm_accounts_list", "List accounts", "projects.read",
             accounts.AccountList, query=paged),
        _arm("GET", f"{SUBSCRIPTION}/deletedAccounts", routes.list_deleted, "arm_deleted_accounts_list",
             "List deleted accounts", "projects.read", accounts.AccountList),
        _arm("POST", f"{ACCOUNT}/listKeys", routes.keys, "arm_accounts_list_keys", "Show both keys of an account",
             "keys.read", accounts.ApiKeys),
        _arm("POST", f"{ACCOUNT}/regenerateKey", routes.regenerate, "arm_accounts_regenerate_key",
             "Replace one key of an account", "keys.write", accounts.ApiKeys, accounts.RegenerateKeyBody),
    ]  # fmt: skip


def _deployments(services: Services, control: Control) -> list[Operation]:
    routes, one = deployments.DeploymentRoutes(services, control), deployments.DeploymentResource
    return [
        _arm("PUT", DEPLOYMENT, routes.put, "arm_deployments_put", "Make or change a deployment", "deployments.write",
             one, deployments.DeploymentBody, MADE),
        _arm("PATCH", DEPLOYMENT, routes.patch, "arm_deployments_update", "Change a part of a deployment",
             "deployments.write", one, deployments.DeploymentBody),
        _arm("GET", DEPLOYMENT, routes.get, "arm_deployments_get", "Describe a deployment", "deployments.read", one),
        _arm("DELETE", DEPLOYMENT, routes.delete, "arm_deployments_delete", "Delete a deployment",
             "deployments.write", None, success=(200, 204)),
        _arm("GET", f"{ACCOUNT}/deployments", routes.list, "arm_deployments_list", "List deployments",
             "deployments.read", deployments.DeploymentList, query=("$skiptoken",)),
        _arm("GET", f"{DEPLOYMENT}/skus", routes.skus, "arm_deployments_list_skus", "List SKUs for a deployment",
             "deployments.read", deployments.DeploymentSkuList),
        _arm("POST", f"{DEPLOYMENT}/pause", routes.pause, "arm_deployments_pause", "Pause a deployment",
             "deployments.write", one),
        _arm("POST", f"{DEPLOYMENT}/resume", routes.resume, "arm_deployments_resume", "Resume a deployment",
             "deployments.write", one),
    ]  # fmt: skip


def _policies(services: Services, control: Control) -> list[Operation]:
    routes, one = rai.RaiRoutes(services, control), rai.RaiPolicy
    return [
        _arm("PUT", POLICY, routes.put_policy, "arm_policies_put", "Make or replace a content policy",
             "policies.write", one, rai.RaiPolicyBody, MADE),
        _arm("GET", POLICY, routes.get_policy, "arm_policies_get", "Describe a content policy", "policies.read", one),
        _arm("DELETE", POLICY, routes.delete_policy, "arm_policies_delete", "Delete a content policy",
             "policies.write", None, success=(204,)),
        _arm("GET", f"{ACCOUNT}/raiPolicies", routes.list_policies, "arm_policies_list", "List content policies",
             "policies.read", rai.RaiPolicyList, query=("$skiptoken",)),
    ]  # fmt: skip


def _blocklists(services: Services, control: Control) -> list[Operation]:
    routes, one, item, paged = rai.RaiRoutes(services, control), rai.RaiBlocklist, rai.RaiBlocklistItem, ("$skiptoken",)
    return [
        _arm("PUT", LIST, routes.put_list, "arm_blocklists_put", "Make or change a blocklist", "policies.write", one,
             rai.RaiBlocklistBody, MADE),
        _arm("GET", LIST, routes.get_list, "arm_blocklists_get", "Describe a blocklist", "policies.read", one),
        _arm("DELETE", LIST, routes.delete_list, "arm_blocklists_delete", "Delete a blocklist", "policies.write", None,
             success=(204,)),
        _arm("GET", f"{ACCOUNT}/raiBlocklists", routes.list_lists, "arm_blocklists_list", "List blocklists",
             "policies.read", rai.RaiBlocklistList, query=paged),
        _arm("PUT", ITEM, routes.put_item, "arm_items_put", "Write an item of a blocklist", "policies.write", item,
             rai.RaiBlocklistItemBody, MADE),
        _arm("GET", ITEM, routes.get_item, "arm_items_get", "Show an item of a blocklist", "policies.read", item),
        _arm("DELETE", ITEM, routes.delete_item, "arm_items_delete", "Delete an item of a blocklist", "policies.write",
             None, success=(204,)),
        _arm("GET", f"{LIST}/raiBlocklistItems", routes.list_items, "arm_items_list", "List the items of a blocklist",
             "policies.read", rai.RaiBlocklistItemList, query=paged),
        _arm("POST", f"{LIST}/addRaiBlocklistItems", routes.add_items, "arm_items_add", "Write several items",
             "policies.write", one, rai.RaiBlocklistItemsBody),
        _arm("POST", f"{LIST}/deleteRaiBlocklistItems", routes.delete_items, "arm_items_delete_several",
             "Delete several items", "policies.write", None, rai.RaiBlocklistItemNames, (204,)),
    ]  # fmt: skip


def _inventory(services: Services, control: Control) -> list[Operation]:
    routes, paged = inventory.InventoryRoutes(services, control), ("$skiptoken",)
    model = ("modelFormat", "modelName", "modelVersion", *paged)
    return [
        _arm("GET", f"{ACCOUNT}/models", routes.account_models, "arm_accounts_list_models",
             "List what an account can deploy", "models.read", inventory.AccountModelList, query=paged),
        _arm("GET", f"{ACCOUNT}/usages", routes.account_usages, "arm_accounts_list_usages",
             "List what an account has of the quotas", "quota.read", inventory.UsageList, query=paged),
        _arm("GET", f"{LOCATION}/models", routes.models, "arm_models_list", "List what can be deployed", "models.read",
             inventory.ModelList, query=paged),
        _arm("GET", f"{LOCATION}/usages", routes.usages, "arm_usages_list", "List quotas", "quota.read",
             inventory.UsageList, query=paged),
        _arm("GET", f"{LOCATION}/modelCapacities", routes.model_capacities, "arm_location_capacities_list",
             "List what is left of a model", "quota.read", inventory.ModelCapacityList, query=model),
        _arm("GET", f"{SUBSCRIPTION}/modelCapacities", routes.model_capacities, "arm_capacities_list",
             "List what is left of a model", "quota.read", inventory.ModelCapacityList, query=model),
        _arm("POST", f"{SUBSCRIPTION}/calculateModelCapacity", routes.calculate, "arm_calculate_capacity",
             "Say how many units a workload needs", "quota.read", inventory.CalculatedCapacity,
             inventory.CalculateBody),
    ]  # fmt: skip


def _offers(services: Services, control: Control) -> list[Operation]:
    routes, reads = offers.OfferRoutes(services, control), "policies.read"
    return [
        _arm("GET", f"{SUBSCRIPTION}/skus", routes.skus, "arm_skus_list", "List SKUs of accounts", "projects.read",
             offers.ResourceSkuList),
        _arm("GET", f"{ACCOUNT}/skus", routes.account_skus, "arm_accounts_list_skus", "List SKUs for an account",
             "projects.read", offers.AccountSkuList),
        _arm("POST", f"{LOCATION}/checkSkuAvailability", routes.check_sku, "arm_check_sku",
             "Say whether there are SKUs", "projects.read", offers.SkuAvailabilityList, offers.SkuAvailabilityBody),
        _arm("POST", f"{SUBSCRIPTION}/checkDomainAvailability", routes.check_domain, "arm_check_domain",
             "Say whether a name is free", "projects.read", offers.DomainAvailability, offers.DomainBody),
        _arm("GET", f"{LOCATION}/raiContentFilters", routes.content_filters, "arm_content_filters_list",
             "List content filters", reads, offers.ContentFilterList),
        _arm("GET", f"{LOCATION}/raiContentFilters/{{filterName}}", routes.content_filter, "arm_content_filters_get",
             "Describe a content filter", reads, offers.ContentFilterResource),
    ]  # fmt: skip


_VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


def _described(operations: Sequence[Operation]) -> list[ArmOperation]:
    """What roles name operations by: the resource's type and a verb; reads of one and of all are the same."""
    found: dict[str, ArmOperation] = {}
    for operation in operations:
        parts = operation.path.split(f"/providers/{PROVIDER}/")[1].split("/")
        kinds = [part for part in parts if not part.startswith("{")]
        verb = _VERBS.get(operation.method)
        kind = "/".join(kinds)
        name = f"{PROVIDER}/{kind}/{verb or 'action'}"
        display = OperationDisplay(provider="Mainspring", resource=kind, operation=operation.summary)
        found.setdefault(name, ArmOperation(name=name, is_data_action=False, display=display))
    return [found[name] for name in sorted(found)]
