"""organization/admin_api_keys, and in projects api_keys and service_accounts, as OpenAI's administration has them.
Parse, call governance, render."""

from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.openai import replies
from mainspring.api.openai import replies_organization as shapes
from mainspring.api.openai import wire_organization as wire
from mainspring.api.openai.organization_projects import actor_of
from mainspring.api.openai.pages import chosen, page_of
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.governance.control import Control
from mainspring.governance.keys import ApiKey
from mainspring.governance.service_accounts import ServiceAccount, ServiceAccounts

__all__ = ["KeyRoutes"]


class KeyRoutes:
    """The handlers of keys, and of the service accounts that have some."""

    def __init__(self, services: Services, control: Control) -> None:
        self._services, self._control = services, control

    async def _name(self, http: Request) -> str:
        """The project in the path. Raises NotFound."""
        return (await self._control.projects.get(http.path_params["project_id"])).name

    # -- keys of a project ---------------------------------------------------------------------------------------------

    async def list(self, http: Request) -> Response:
        """The keys of a project."""
        project = await self._name(http)
        access = chosen(http, "owner_project_access", ("active", "inactive", "any"))
        # Whoever loses a project loses the keys to it with it, so that none is of somebody without access.
        keys = [] if access == "inactive" else await self._keys(project)
        accounts = await self._accounts(project)
        shown, first, last, more = shapes.page(http, keys, lambda each: each.id)
        data = [shapes.ProjectApiKey.of(each, accounts.get(each.owner)) for each in shown]
        return replies.json(shapes.ProjectApiKeyList(data=data, first_id=first, last_id=last, has_more=more))

    async def retrieve(self, http: Request) -> Response:
        """One key of a project."""
        project = await self._name(http)
        key = _named(await self._keys(project), http.path_params["api_key_id"], "api_key_id")
        return replies.json(shapes.ProjectApiKey.of(key, (await self._accounts(project)).get(key.owner)))

    async def delete(self, http: Request) -> Response:
        """Make a key of a project stop working."""
        project = await self._name(http)
        key = _named(await self._keys(project), http.path_params["api_key_id"], "api_key_id")
        if key.slot:
            raise InvalidRequest(
                f"{key.slot} is one of the project's own two, which are regenerated and not deleted.",
                param="api_key_id",
            )
        if key.owner in await self._accounts(project):
            raise InvalidRequest("The key belongs to a service account: delete that.", param="api_key_id")
        await self._control.keys.by(actor_of(http)).revoke(key.id)
        return replies.json(shapes.Gone(id=key.id, object="organization.project.api_key.deleted"))

    async def _keys(self, project: str) -> "list[ApiKey]":
        found = await self._control.keys.list()
        return [each for each in found if each.project == project and each.revoked is None and each.role != "admin"]

    async def _accounts(self, project: str) -> dict[str, ServiceAccount]:
        return {each.id: each for each in await self._control.service_accounts.list(project)}

    # -- service accounts ----------------------------------------------------------------------------------------------

    def _changing(self, http: Request) -> ServiceAccounts:
        return self._control.service_accounts.by(actor_of(http))

    async def list_accounts(self, http: Request) -> Response:
        """The service accounts of a project."""
        found = await self._control.service_accounts.list(await self._name(http))
        shown, first, last, more = shapes.page(http, found, lambda each: each.id)
        data = list(map(shapes.ProjectServiceAccount.of, shown))
        return replies.json(shapes.ProjectServiceAccountList(data=data, first_id=first, last_id=last, has_more=more))

    async def create_account(self, http: Request) -> Response:
        """Make a service account with a key, or without."""
        body = await read_body(http, wire.ServiceAccountCreateRequest, self._services.max_body_bytes)
        project, alone = await self._name(http), body.create_service_account_only
        if alone and body.expires_in_seconds is not None:
            raise InvalidRequest("Without a key, nothing expires.", param="expires_in_seconds")
        account, made = await self._changing(http).create(
            project, body.name, role=None if alone else "user", expires_s=body.expires_in_seconds
        )
        return replies.json(
            shapes.ProjectServiceAccountCreated(
                id=account.id, name=account.name, role=shapes.MEMBER[account.role], created_at=int(account.created),
                api_key=None if made is None else shapes.ServiceAccountApiKey.of(*made),
            )
        )  # fmt: skip

    async def retrieve_account(self, http: Request) -> Response:
        """One service account."""
        found = await self._control.service_accounts.get(await self._name(http), http.path_params["service_account_id"])
        return replies.json(shapes.ProjectServiceAccount.of(found))

    async def update_account(self, http: Request) -> Response:
        """Change a service account."""
        body = await read_body(http, wire.ServiceAccountUpdateRequest, self._services.max_body_bytes)
        project, account = await self._name(http), http.path_params["service_account_id"]
        role = None if body.role is None else "user"
        found = await self._changing(http).update(project, account, name=body.name, role=role)
        return replies.json(shapes.ProjectServiceAccount.of(found))

    async def delete_account(self, http: Request) -> Response:
        """Delete a service account with its keys."""
        account = http.path_params["service_account_id"]
        await self._changing(http).remove(await self._name(http), account)
        return replies.json(shapes.Gone(id=account, object="organization.project.service_account.deleted"))

    async def create_account_key(self, http: Request) -> Response:
        """Make another key for a service account."""
        body = await read_body(http, wire.ServiceAccountApiKeyCreateRequest, self._services.max_body_bytes)
        project, account = await self._name(http), http.path_params["service_account_id"]
        made = await self._changing(http).add_key(project, account, body.name)
        return replies.json(shapes.ServiceAccountApiKey.of(*made))

    # -- keys of administrators ----------------------------------------------------------------------------------------

    async def list_admin(self, http: Request) -> Response:
        """The keys of administrators."""
        found = await self._admin_keys()
        if page_of(http, descending=False)["descending"]:
            found.reverse()
        shown, first, last, more = shapes.page(http, found, lambda each: each.id)
        data = list(map(shapes.AdminApiKey.of, shown))
        return replies.json(shapes.AdminApiKeyList(data=data, first_id=first, last_id=last, has_more=more))

    async def create_admin(self, http: Request) -> Response:
        """Make one."""
        body = await read_body(http, wire.AdminApiKeyCreateRequest, self._services.max_body_bytes)
        key, secret = await self._control.keys.by(actor_of(http)).create(
            body.name, "admin", expires_s=body.expires_in_seconds
        )
        return replies.json(
            shapes.AdminApiKeyCreated(
                id=key.id, name=key.name, redacted_value=shapes.redacted(key), created_at=int(key.created),
                last_used_at=None, expires_at=shapes.whole(key.expires), owner=shapes.AdminOwner(), value=secret,
            )
        )  # fmt: skip

    async def retrieve_admin(self, http: Request) -> Response:
        """One of them."""
        found = _named(await self._admin_keys(), http.path_params["key_id"], "key_id")
        return replies.json(shapes.AdminApiKey.of(found))

    async def delete_admin(self, http: Request) -> Response:
        """Make one stop working."""
        found = _named(await self._admin_keys(), http.path_params["key_id"], "key_id")
        await self._control.keys.by(actor_of(http)).revoke(found.id)
        return replies.json(shapes.Gone(id=found.id, object="organization.admin_api_key.deleted"))

    async def _admin_keys(self) -> "list[ApiKey]":
        return [each for each in await self._control.keys.list() if each.role == "admin" and each.revoked is None]


def _named(keys: "list[ApiKey]", key_id: str, param: str) -> ApiKey:
    found = next((each for each in keys if each.id == key_id), None)
    if found is None:
        raise NotFound(f"No such key: {key_id[:100]}", param=param)
    return found
