"""Every role on every route, over a socket, with a key and with a token of that role.

`EXPECTED` is written by hand and not read from the code: a new route must be entered here, and a change of who may do
what is seen.
"""

import re
import time
from collections.abc import Generator
from typing import Any

import httpx
import pytest

from mainspring.api.openapi import Operation
from mainspring.core.clock import FakeClock
from mainspring.core.config import IdentitySettings
from mainspring.governance.roles import PERMISSIONS, ROLES, SERVER_WIDE, roles_with
from mainspring.governance.tokens import Tokens
from tests.contract.target import API_VERSION, GovernedTarget, governed
from tests.issuer import AUDIENCE, ISSUER, FakeIssuer

USE = {"admin", "user", "contributor"}
TRAIN = {"admin", "contributor"}
READ = USE | {"manager"}
WATCH = {"admin", "manager", "reader"}
MANAGE = {"admin", "manager"}
EVERYBODY: set[str] | None = None  # no key either

EXPECTED: dict[str, set[str] | None] = {
    **{
        f"{dialect}_{name}": roles
        for dialect in ("openai", "azure", "azure_v1")
        for name, roles in {
            "chat_completions_create": USE,
            "completions_create": USE,
            "embeddings_create": USE,
            "models_list": READ,
            "models_retrieve": READ,
            "files_create": USE,
            "files_list": USE,
            "files_retrieve": USE,
            "files_content": USE,
            "files_delete": USE,
            "uploads_create": USE,
            "uploads_add_part": USE,
            "uploads_complete": USE,
            "uploads_cancel": USE,
            "moderations_create": USE,
            **{f"stored_chats_{name}": USE for name in ("list", "retrieve", "update", "delete", "messages")},
            **{f"evals_{name}": USE for name in ("create", "list", "retrieve", "update", "delete")},
            **{f"evals_runs_{name}": USE for name in ("create", "list", "retrieve", "cancel", "delete")},
            "evals_runs_cancel_by_name": USE,
            "evals_output_items_list": USE,
            "evals_output_items_retrieve": USE,
            "batches_create": USE,
            "batches_list": USE,
            "batches_retrieve": USE,
            "batches_cancel": USE,
            "vector_stores_create": USE,
            "vector_stores_list": USE,
            "vector_stores_retrieve": USE,
            "vector_stores_update": USE,
            "vector_stores_delete": USE,
            "vector_stores_search": USE,
            "vector_stores_files_create": USE,
            "vector_stores_files_list": USE,
            "vector_stores_files_retrieve": USE,
            "vector_stores_files_update": USE,
            "vector_stores_files_delete": USE,
            "vector_stores_files_content": USE,
            "vector_stores_batches_create": USE,
            "vector_stores_batches_retrieve": USE,
            "vector_stores_batches_cancel": USE,
            "vector_stores_batches_files": USE,
            **{
                f"responses_{name}": USE
                for name in ("create", "retrieve", "delete", "cancel", "input_items", "input_tokens", "compact")
            },
            **{
                f"conversations_{name}": USE
                for name in (
                    "create",
                    "retrieve",
                    "update",
                    "delete",
                    "items_create",
                    "items_list",
                    "items_retrieve",
                    "items_delete",
                )
            },
            **{
                f"containers_{name}": USE
                for name in (
                    "create",
                    "list",
                    "retrieve",
                    "delete",
                    "files_create",
                    "files_list",
                    "files_retrieve",
                    "files_content",
                    "files_delete",
                )
            },
            "graders_run": TRAIN,
            "graders_validate": TRAIN,
            "fine_tuning_jobs_create": TRAIN,
            "fine_tuning_jobs_list": USE,
            "fine_tuning_jobs_retrieve": USE,
            "fine_tuning_jobs_events": USE,
            "fine_tuning_jobs_checkpoints": USE,
            "fine_tuning_jobs_cancel": TRAIN,
            "fine_tuning_jobs_pause": TRAIN,
            "fine_tuning_jobs_resume": TRAIN,
            "fine_tuning_permissions_create": MANAGE,
            "fine_tuning_permissions_list": MANAGE,
            "fine_tuning_permissions_delete": MANAGE,
            **dict.fromkeys(
                (
                    f"webhooks_{each}"
                    for each in ("create", "list", "retrieve", "update", "delete", "rotate", "test", "types")
                ),
                MANAGE | {"contributor"},
            ),
        }.items()
    },
    **{
        f"{dialect}_fine_tuning_copies_{verb}": MANAGE
        for dialect in ("azure", "azure_v1")
        for verb in ("create", "retrieve")
    },
    "openai_models_delete": {"admin", "contributor"},
    "azure_v1_models_delete": {"admin", "contributor"},
    "azure_deployments_list": READ,
    "azure_deployments_retrieve": READ,
    "azure_deployments_batches_create": USE,
    "infill_create": USE,
    "organization_usage_completions": WATCH,
    "organization_usage_embeddings": WATCH,
    "organization_costs": WATCH,
    **{
        f"organization_usage_{what}": WATCH
        for what in ("moderations", "file_searches", "web_searches", "code_sessions")
    },
    "organization_projects_list": READ,
    "organization_projects_create": {"admin"},  # nobody else here has a role in every project
    "organization_projects_retrieve": READ,
    "organization_projects_update": MANAGE,
    "organization_projects_archive": MANAGE,
    "organization_rate_limits_list": READ,
    "organization_rate_limits_update": MANAGE | {"contributor"},
    "organization_spend_limit_retrieve": READ | WATCH,
    "organization_spend_limit_update": {"admin"},
    "organization_spend_limit_delete": {"admin"},
    **{f"organization_api_keys_{verb}": MANAGE for verb in ("list", "retrieve", "delete")},
    **{
        f"organization_service_accounts_{verb}": MANAGE
        for verb in ("list", "create", "retrieve", "update", "delete", "create_key")
    },
    **{f"organization_admin_api_keys_{verb}": {"admin"} for verb in ("list", "create", "retrieve", "delete")},
    "organization_audit_logs_list": {"admin"},
    **{f"{kind}_roles_{verb}": READ for kind in ("organization", "project") for verb in ("list", "retrieve")},
    **{
        f"arm_{name}": roles
        for names, roles in {
            "accounts_get accounts_list accounts_list_group accounts_list_skus deleted_accounts_list skus_list "
            "operations_list check_sku check_domain accounts_list_models models_list deployments_get deployments_list "
            "deployments_list_skus policies_get policies_list blocklists_get blocklists_list items_get items_list "
            "content_filters_list content_filters_get": READ,
            "accounts_put accounts_update accounts_delete accounts_list_keys accounts_regenerate_key": MANAGE,
            "deployments_put deployments_update deployments_delete deployments_pause deployments_resume policies_put "
            "policies_delete blocklists_put blocklists_delete items_put items_delete items_add "
            "items_delete_several": MANAGE | {"contributor"},
            "usages_list accounts_list_usages location_capacities_list capacities_list calculate_capacity": READ
            | WATCH,
        }.items()
        for name in names.split()
    },
    **dict.fromkeys(
        ("x_webhooks_deliveries", "x_webhooks_delivery", "x_webhooks_replay", "x_webhooks_replay_since"),
        MANAGE | {"contributor"},
    ),
    **{
        f"x_{name}": USE
        for name in (
            "chats_create",
            "chats_changes",
            "chats_list",
            "chats_retrieve",
            "chats_update",
            "chats_delete",
            "chats_turns_list",
            "chats_turns_create",
            "chats_turns_delete",
            "chats_fork",
            "chats_export",
            "chats_import",
            "chats_shares_create",
            "chats_shares_list",
            "chats_shares_delete",
            "presets_create",
            "presets_list",
            "presets_retrieve",
            "presets_update",
            "presets_delete",
            "me_instructions_retrieve",
            "me_instructions_replace",
            "responses_receipt",
            "responses_context",
            "responses_rerun",
            "ui_chat_create",
            "ui_chat_retrieve",
            "ui_chat_stream",
            "ui_chat_stop",
        )
    },
    "x_shared_retrieve": EVERYBODY,
    "x_requests_explain": MANAGE,
    "x_audit_list": {"admin"},
    **dict.fromkeys(("x_session_retrieve", "x_session_create", "x_session_delete"), EVERYBODY),
    "x_session_links_create": {"admin"},
    "metrics": WATCH,
    "healthz": EVERYBODY,
    "readyz": EVERYBODY,
    "docs": EVERYBODY,
    "openapi": EVERYBODY,
}


NOTHING_SAID = {"x_session_create": 400, "x_shared_retrieve": 404}
"""Of what is everybody's: what an empty body is a mistake for, and what a link leads to that there is not."""

ANYWHERE = {
    "arm_accounts_list", "arm_accounts_list_group", "arm_deleted_accounts_list", "arm_skus_list", "arm_operations_list",
    "arm_check_sku", "arm_check_domain", "arm_models_list", "arm_content_filters_list", "arm_content_filters_get",
    "arm_usages_list", "arm_location_capacities_list", "arm_capacities_list", "arm_calculate_capacity",
    "x_requests_explain", "organization_projects_list", "organization_roles_list", "organization_roles_retrieve",
}  # fmt: skip
"""What is not one project's: whoever has the role in some project may, and sees no more than that project's."""


@pytest.fixture(scope="module")
def issuer() -> FakeIssuer:
    return FakeIssuer(time.time())


@pytest.fixture(scope="module")
def target(issuer: FakeIssuer, tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    settings = IdentitySettings(  # type: ignore[call-arg]
        issuer=ISSUER,
        audience=(AUDIENCE,),
        roles={**{role: role for role in ROLES}, **{f"{role}@other": f"{role}@other" for role in ROLES[1:]}},
    )
    tokens = Tokens(settings, FakeClock(issuer.now_s), issuer.fetch)
    with governed(tmp_path_factory.mktemp("roles"), tokens.authenticate) as found:
        yield found


def operations(target: GovernedTarget) -> list[Operation]:
    return target.app.operations


def ask(client: httpx.Client, operation: Operation, credential: str) -> int:
    """The status of the least that can be asked of an operation."""
    path = re.sub(r"\{(deployment|model)(:path)?\}", "fake", operation.path)
    path = re.sub(r"\{(accountName|resourceGroupName|project_id)\}", "default", path)
    path = path.replace("{location}", "local")
    path = re.sub(r"\{subscriptionId\}", "00000000-0000-0000-0000-000000000000", path)
    path = re.sub(r"\{[^}]*\}", "x", path)
    query = {"api-version": API_VERSION} if operation.dialect in ("azure", "arm") else {}
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    body: dict[str, Any] = {} if operation.method in ("GET", "DELETE") else {"json": {}}
    return client.request(operation.method, path, params=query, headers=headers, **body).status_code


def statuses(target: GovernedTarget, credential: str) -> dict[str, int]:
    """Name of each operation -> its answer."""
    with httpx.Client(base_url=target.base_url, timeout=60) as client:
        return {operation.name: ask(client, operation, credential) for operation in operations(target)}


def test_every_operation_is_expected(target: GovernedTarget) -> None:
    names = [operation.name for operation in operations(target)]
    assert sorted(names) == sorted(EXPECTED), "enter the new operation in EXPECTED, with the roles that may call it"
    assert target.app.served == {(operation.method, operation.path) for operation in operations(target)}


@pytest.mark.parametrize("kind", ["key", "token"])
@pytest.mark.parametrize("role", ROLES)
def test_who_may_do_what(target: GovernedTarget, issuer: FakeIssuer, role: Any, kind: str) -> None:
    credential = target.make_key(role=role) if kind == "key" else issuer.token(roles=[role])
    for name, status in statuses(target, credential).items():
        allowed = EXPECTED[name]
        if allowed is None or role in allowed:
            assert status not in (401, 403, 500), name
        else:
            assert status == 403, name


def test_without_a_key_only_what_is_public_answers(target: GovernedTarget) -> None:
    for credential in ("", "ms-unknown", "a.b.c"):
        for name, status in statuses(target, credential).items():
            assert status == (401 if EXPECTED[name] is not None else NOTHING_SAID.get(name, 200)), name


@pytest.mark.parametrize("role", [*(f"{role}@other" for role in ROLES if role != "admin"), "nothing"])
def test_a_role_elsewhere_is_none_here(target: GovernedTarget, issuer: FakeIssuer, role: str) -> None:
    """The second role makes the default project the one that is asked."""
    credential = issuer.token(roles=[role, "Cognitive Services Usages Reader"])
    for name, status in statuses(target, credential).items():
        allowed = EXPECTED[name]
        has = {"reader", role.partition("@")[0]} if name in ANYWHERE else {"reader"}
        assert (status == 403) == (allowed is not None and not has & allowed), name


def test_the_account_in_the_path_is_the_project_that_counts(target: GovernedTarget, issuer: FakeIssuer) -> None:
    """Whatever project else the request names, or its token leads to."""
    token = issuer.token(roles=["manager@other"])
    group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/default/providers"
    accounts = f"{group}/Microsoft.CognitiveServices/accounts"
    with httpx.Client(base_url=target.base_url, params={"api-version": API_VERSION}) as client:
        for prefix in ("", "/projects/other"):
            for named in ({}, {"openai-project": "other"}):
                headers = {"authorization": f"Bearer {token}", **named}
                assert client.post(f"{prefix}{accounts}/default/listKeys", headers=headers).status_code == 403
                assert client.post(f"{prefix}{accounts}/other/listKeys", headers=headers).status_code == 404


@pytest.mark.parametrize("role", ["manager@other", "reader@other"])
def test_what_is_the_whole_server_s_is_not_another_project_s(target: GovernedTarget, issuer: FakeIssuer, role) -> None:
    assert statuses(target, issuer.token(roles=[role]))["metrics"] == 403


def test_somebody_without_a_role_may_do_nothing(target: GovernedTarget, issuer: FakeIssuer) -> None:
    for name, status in statuses(target, issuer.token(roles=[])).items():
        assert status == (403 if EXPECTED[name] is not None else NOTHING_SAID.get(name, 200)), name


def test_a_refusal_names_the_role_that_is_needed(target: GovernedTarget) -> None:
    key = target.make_key(role="reader")
    with target.http(key) as client:
        said = client.post("/v1/chat/completions", json={}).json()["error"]
    assert said["code"] == "permission_denied"
    assert said["message"].startswith("This needs the role admin or user or contributor in the project 'default'")
    assert "the role reader there" in said["message"]


def test_the_tables_are_sound() -> None:
    for role in ROLES:
        assert PERMISSIONS[role] <= PERMISSIONS["admin"]
    assert all(roles_with(permission) for permission in PERMISSIONS["admin"])
    assert not PERMISSIONS["manager"] & {"inference", "audit.read", "quota.write"}
    assert {each for each in PERMISSIONS["user"] if "write" in each or each == "keys.read"} == {"files.write"}
    assert PERMISSIONS["admin"] >= SERVER_WIDE
