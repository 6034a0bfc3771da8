"""The operations of OpenAI's administration as one table: projects, keys, limits, roles, what was changed and used."""

from dataclasses import replace
from functools import partial
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.openai import replies
from mainspring.api.openai import replies_organization as shapes
from mainspring.api.openai import wire_organization as wire
from mainspring.api.openai.audit_logs import AuditLogList, AuditLogRoutes
from mainspring.api.openai.organization_keys import KeyRoutes
from mainspring.api.openai.organization_projects import ProjectRoutes
from mainspring.api.openai.usage import CostsPage, UsagePage, UsageRoutes
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.api.settled import settled
from mainspring.core.errors import NotFound
from mainspring.governance.control import Control
from mainspring.governance.roles import ROLES, Role

__all__ = ["organization_operations"]

ORGANIZATION = "/v1/organization"
PROJECT = f"{ORGANIZATION}/projects/{{project_id}}"
ACCOUNT = f"{PROJECT}/service_accounts/{{service_account_id}}"
PAGE = ("page/after", "page/limit")
REFUSES = (400, 409)

_get = partial(Operation, method="GET", dialect="openai")
_post = partial(Operation, method="POST", dialect="openai", extra_status=REFUSES)
_delete = partial(Operation, method="DELETE", dialect="openai", extra_status=REFUSES)


def organization_operations(services: Services) -> list[Operation]:
    """Every operation, for the table of the application."""
    found = _usage(UsageRoutes(services))
    if (control := services.control) is not None:
        projects, keys = ProjectRoutes(services, control), KeyRoutes(services, control)
        made = [
            *_projects(projects), *_limits(projects), *_keys(keys), *_accounts(keys), *_admin_keys(keys),
            *_roles(control), _audit(AuditLogRoutes(control)),
        ]  # fmt: skip
        found += [_settled(each, control) if each.method != "GET" else each for each in made]
    return found


def _settled(operation: Operation, control: Control) -> Operation:
    return replace(operation, handler=settled(operation.handler, control))


def _projects(routes: ProjectRoutes) -> list[Operation]:
    project = shapes.OrganizationProject
    return [
        _get(
            path=f"{ORGANIZATION}/projects", handler=routes.list, name="organization_projects_list",
            summary="List projects", needs="projects.read", anywhere=True, reply=shapes.OrganizationProjectList,
            query=(*PAGE, "include_archived"), extra_status=(400,),
        ),
        _post(
            path=f"{ORGANIZATION}/projects", handler=routes.create, name="organization_projects_create",
            summary="Make a project", needs="projects.write", of="*", body=wire.ProjectCreateRequest, reply=project,
        ),
        _get(
            path=PROJECT, handler=routes.retrieve, name="organization_projects_retrieve", summary="Describe a project",
            needs="projects.read", of="project_id", reply=project,
        ),
        _post(
            path=PROJECT, handler=routes.update, name="organization_projects_update", summary="Rename a project",
            needs="projects.write", of="project_id", body=wire.ProjectUpdateRequest, reply=project,
        ),
        _post(
            path=f"{PROJECT}/archive", handler=routes.archive, name="organization_projects_archive",
            summary="End a project, and keep what is in it", needs="projects.write", of="project_id", reply=project,
        ),
    ]  # fmt: skip


def _limits(routes: ProjectRoutes) -> list[Operation]:
    spend = f"{PROJECT}/spend_limit"
    return [
        _get(
            path=f"{PROJECT}/rate_limits", handler=routes.rate_limits, name="organization_rate_limits_list",
            summary="List what may be asked of deployments in a minute", needs="deployments.read", of="project_id",
            reply=shapes.ProjectRateLimitList, query=(*PAGE, "page/before"), extra_status=(400,),
        ),
        _post(
            path=f"{PROJECT}/rate_limits/{{rate_limit_id}}", handler=routes.set_rate_limit,
            name="organization_rate_limits_update", summary="Resize a deployment", needs="deployments.write",
            of="project_id", body=wire.ProjectRateLimitUpdateRequest, reply=shapes.ProjectRateLimit,
        ),
        _get(
            path=spend, handler=routes.spend_limit, name="organization_spend_limit_retrieve",
            summary="Say what a project may cost a month", needs="quota.read", of="project_id",
            reply=shapes.SpendLimit,
        ),
        _post(
            path=spend, handler=routes.set_spend_limit, name="organization_spend_limit_update",
            summary="Limit what a project may cost a month", needs="quota.write", of="project_id",
            body=wire.SpendLimitUpdateRequest, reply=shapes.SpendLimit,
        ),
        _delete(
            path=spend, handler=routes.delete_spend_limit, name="organization_spend_limit_delete",
            summary="Let a project cost what it costs", needs="quota.write", of="project_id",
            reply=shapes.SpendLimitDeleted,
        ),
    ]  # fmt: skip


def _keys(routes: KeyRoutes) -> list[Operation]:
    one = f"{PROJECT}/api_keys/{{api_key_id}}"
    return [
        _get(
            path=f"{PROJECT}/api_keys", handler=routes.list, name="organization_api_keys_list",
            summary="List the keys of a project", needs="keys.read", of="project_id", reply=shapes.ProjectApiKeyList,
            query=(*PAGE, "owner_project_access"), extra_status=(400,),
        ),
        _get(
            path=one, handler=routes.retrieve, name="organization_api_keys_retrieve",
            summary="Describe a key of a project", needs="keys.read", of="project_id", reply=shapes.ProjectApiKey,
        ),
        _delete(
            path=one, handler=routes.delete, name="organization_api_keys_delete", summary="Revoke a key of a project",
            needs="keys.write", of="project_id", reply=shapes.Gone,
        ),
    ]  # fmt: skip


def _accounts(routes: KeyRoutes) -> list[Operation]:
    account, folder = shapes.ProjectServiceAccount, f"{PROJECT}/service_accounts"
    return [
        _get(
            path=folder, handler=routes.list_accounts, name="organization_service_accounts_list",
            summary="List the service accounts of a project", needs="keys.read", of="project_id",
            reply=shapes.ProjectServiceAccountList, query=PAGE, extra_status=(400,),
        ),
        _post(
            path=folder, handler=routes.create_account, name="organization_service_accounts_create",
            summary="Make a service account and its key", needs="keys.write", of="project_id",
            body=wire.ServiceAccountCreateRequest, reply=shapes.ProjectServiceAccountCreated,
        ),
        _get(
            path=ACCOUNT, handler=routes.retrieve_account, name="organization_service_accounts_retrieve",
            summary="Describe a service account", needs="keys.read", of="project_id", reply=account,
        ),
        _post(
            path=ACCOUNT, handler=routes.update_account, name="organization_service_accounts_update",
            summary="Change a service account", needs="keys.write", of="project_id",
            body=wire.ServiceAccountUpdateRequest, reply=account,
        ),
        _delete(
            path=ACCOUNT, handler=routes.delete_account, name="organization_service_accounts_delete",
            summary="Delete a service account with its keys", needs="keys.write", of="project_id", reply=shapes.Gone,
        ),
        _post(
            path=f"{ACCOUNT}/api_keys", handler=routes.create_account_key,
            name="organization_service_accounts_create_key", summary="Make another key for a service account",
            needs="keys.write", of="project_id", body=wire.ServiceAccountApiKeyCreateRequest,
            reply=shapes.ServiceAccountApiKey,
        ),
    ]  # fmt: skip


def _admin_keys(routes: KeyRoutes) -> list[Operation]:
    folder = f"{ORGANIZATION}/admin_api_keys"
    return [
        _get(
            path=folder, handler=routes.list_admin, name="organization_admin_api_keys_list",
            summary="List the keys of administrators", needs="keys.admin", reply=shapes.AdminApiKeyList,
            query=(*PAGE, "page/order"), extra_status=(400,),
        ),
        _post(
            path=folder, handler=routes.create_admin, name="organization_admin_api_keys_create",
            summary="Make a key for an administrator", needs="keys.admin", body=wire.AdminApiKeyCreateRequest,
            reply=shapes.AdminApiKeyCreated,
        ),
        _get(
            path=f"{folder}/{{key_id}}", handler=routes.retrieve_admin, name="organization_admin_api_keys_retrieve",
            summary="Describe an administrator's key", needs="keys.admin", reply=shapes.AdminApiKey,
        ),
        _delete(
            path=f"{folder}/{{key_id}}", handler=routes.delete_admin, name="organization_admin_api_keys_delete",
            summary="Revoke an administrator's key", needs="keys.admin", reply=shapes.Gone,
        ),
    ]  # fmt: skip


def _roles(control: Control) -> list[Operation]:
    """Those of the organization are granted for all projects, which an administrator's only is."""

    def made(path: str, where: Literal["api.organization", "api.project"], kind: str, of: str) -> list[Operation]:
        known: tuple[Role, ...] = ROLES if where == "api.organization" else ROLES[1:]
        roles = [shapes.OrganizationRole.of(each, where) for each in known]

        async def find_project(http: Request) -> None:
            if of:
                await control.projects.get(http.path_params[of])

        async def listed(http: Request) -> Response:
            await find_project(http)
            shown, _, last, more = shapes.page(http, roles, lambda each: each.id, usual=100)
            return replies.json(shapes.OrganizationRoleList(data=shown, has_more=more, next=last if more else None))

        async def retrieve(http: Request) -> Response:
            await find_project(http)
            found = next((each for each in roles if each.id == http.path_params["role_id"]), None)
            if found is None:
                raise NotFound(f"No such role: {http.path_params['role_id'][:100]}", param="role_id")
            return replies.json(found)

        asks = partial(_get, needs="projects.read", anywhere=not of, of=of)
        return [
            asks(
                path=path, handler=listed, name=f"{kind}_roles_list", summary="List roles",
                reply=shapes.OrganizationRoleList, query=PAGE, extra_status=(400,),
            ),
            asks(
                path=f"{path}/{{role_id}}", handler=retrieve, name=f"{kind}_roles_retrieve", summary="Describe a role",
                reply=shapes.OrganizationRole,
            ),
        ]  # fmt: skip

    return [
        *made(f"{ORGANIZATION}/roles", "api.organization", "organization", ""),
        *made("/v1/projects/{project_id}/roles", "api.project", "project", "project_id"),
    ]


def _audit(routes: AuditLogRoutes) -> Operation:
    return _get(
        path=f"{ORGANIZATION}/audit_logs", handler=routes.list, name="organization_audit_logs_list",
        summary="List changes", needs="audit.read", reply=AuditLogList, extra_status=(400,),
        query=(
            *PAGE, "page/before", "effective_at", "event_types[]", "project_ids[]", "actor_ids[]", "resource_ids[]",
        ),
    )  # fmt: skip


def _usage(routes: UsageRoutes) -> list[Operation]:
    query = (
        "start_time", "end_time", "bucket_width", "group_by", "project_ids", "user_ids", "api_key_ids", "models",
        "limit", "page",
    )  # fmt: skip
    reads = partial(_get, needs="usage.read", query=query, extra_status=(400,))
    folder = f"{ORGANIZATION}/usage"
    return [
        reads(
            path=f"{folder}/completions", handler=routes.completions, name="organization_usage_completions",
            summary="Tokens of generated text, by time", reply=UsagePage,
            query=(*query, "batch"),
        ),
        reads(
            path=f"{folder}/moderations", handler=routes.moderations, name="organization_usage_moderations",
            summary="Texts that were moderated, by time", reply=UsagePage,
        ),
        reads(
            path=f"{folder}/file_search_calls", handler=routes.file_searches, name="organization_usage_file_searches",
            summary="Calls of file search, by time", reply=UsagePage,
        ),
        reads(
            path=f"{folder}/web_search_calls", handler=routes.web_searches, name="organization_usage_web_searches",
            summary="Searches of the web, by time", reply=UsagePage,
        ),
        reads(
            path=f"{folder}/code_interpreter_sessions", handler=routes.code_sessions,
            name="organization_usage_code_sessions", summary="Containers that were made for code, by time",
            reply=UsagePage,
        ),
        reads(
            path=f"{folder}/embeddings", handler=routes.embeddings, name="organization_usage_embeddings",
            summary="Tokens of embedded text, by time", reply=UsagePage,
        ),
        reads(
            path=f"{ORGANIZATION}/costs", handler=routes.costs, name="organization_costs",
            summary="What it cost, by time", reply=CostsPage,
        ),
    ]  # fmt: skip
