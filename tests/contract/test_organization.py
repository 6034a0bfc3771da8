"""OpenAI's administration with its official package: projects, keys, service accounts, limits, roles, the audit log."""

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from openai import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)

from mainspring.core.types import Limits
from mainspring.governance.wanted import Deployment
from tests.contract.spec import check
from tests.contract.target import API_VERSION, STRICT, GovernedTarget, governed, in_catalog

FOLDER = "/v1/organization"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    home = tmp_path_factory.mktemp("organization")
    in_catalog(home, "tiny", "1")
    with governed(home) as found:
        yield found


@pytest.fixture
def organization(target: GovernedTarget):
    return administrator(target).admin.organization


def administrator(target: GovernedTarget, key: str | None = None) -> OpenAI:
    return target.sdk("openai", admin_api_key=key or target.key)


def deploy(target: GovernedTarget, project: str, name: str, **more: Any) -> None:
    wanted = Deployment(**{"project": project, "name": name, "model": "tiny", "version": "", "capacity": 1000, **more})
    target.run(target.control.projects.deploy(wanted))
    target.run(target.control.directory.refresh(target.control.projects))


def ask(client: OpenAI, model: str = "chat"):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=3)


def actions(target: GovernedTarget) -> list[tuple[str, str, str]]:
    return [(each.action, each.subject, each.actor) for each in target.run(target.control.audit.list(newest=1000))]


def admin_id(target: GovernedTarget) -> str:
    return next(each.id for each in target.run(target.control.keys.list()) if each.role == "admin")


def raw(target: GovernedTarget, path: str, key: str | None = None) -> dict[str, Any]:
    with target.http(key) as client:
        answer = client.get(f"{FOLDER}{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(error: APIStatusError) -> str | None:
    """The parameter that is named; the body is one of OpenAI's."""
    said = error.response.json()
    check("ErrorResponse", said)
    return said["error"]["param"]


# -- projects ----------------------------------------------------------------------------------------------------------


def test_a_project_is_made_renamed_found_and_listed(target: GovernedTarget, organization) -> None:
    made = organization.projects.create(name="Research & Development")
    assert (made.id, made.name, made.status) == ("research-development", "Research & Development", "active")
    assert abs(made.created_at - time.time()) < 60
    assert organization.projects.update(made.id, name="R&D").name == "R&D"
    assert organization.projects.update(made.id).name == "R&D"
    assert organization.projects.retrieve(made.id).name == "R&D"
    assert {"default", made.id} <= {each.id for each in organization.projects.list()}
    again = organization.projects.create(name="research development")
    assert again.id.startswith("research-development-"), "two projects may be called alike"
    assert organization.projects.create(name="研究").id.startswith("project-")
    for path, schema in ((f"/projects/{made.id}", "Project"), ("/projects", "ProjectListResponse")):
        check(schema, raw(target, path))
    actor = admin_id(target)
    assert ("project.create", made.id, actor) in actions(target)
    assert ("project.update", made.id, actor) in actions(target)
    # It is the same project at the other doors: here it has the two keys that Azure's accounts have.
    assert len(target.run(target.control.projects.keys(made.id))) == 2


def test_projects_are_paged(organization) -> None:
    for number in range(3):
        organization.projects.create(name=f"paged {number}")
    ids = [each.id for each in organization.projects.list()]
    first = organization.projects.list(limit=2)
    assert [each.id for each in first.data] == ids[:2]
    assert first.has_more
    assert first.last_id == ids[1]
    assert [each.id for each in organization.projects.list(limit=2)] == ids, "the package goes from page to page"
    assert not organization.projects.list(limit=100).has_more
    for query, param in (({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"after": "nothing"}, "after")):
        with pytest.raises(BadRequestError) as caught:
            organization.projects.list(**query)
        assert refused(caught.value) == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": " x"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": 5}, "name"),
        ({}, "name"),
        ({"name": "x", "residency": "GLOBAL"}, "residency"),
        ({"name": "x", "external_key_id": "k"}, "external_key_id"),
        ({"name": "x", "geography": "EU"}, "geography"),
    ],
)
def test_what_a_project_cannot_be(target: GovernedTarget, body: dict[str, Any], param: str) -> None:
    with target.http() as client:
        answer = client.post(f"{FOLDER}/projects", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_archived_project_is_there_to_be_read_and_for_nothing_else(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="ending")
    deploy(target, project.id, "chat")
    key = organization.projects.service_accounts.create(project.id, name="program").api_key
    assert key is not None
    client = target.sdk("openai", key.value)
    assert ask(client).choices
    inside = target.sdk("openai", project=project.id)
    kept = inside.files.create(file=("a.txt", b"kept"), purpose="user_data")

    ended = organization.projects.archive(project.id)
    check("Project", raw(target, f"/projects/{project.id}"))
    assert ended.status == "archived"
    assert ended.archived_at is not None
    assert project.id not in [each.id for each in organization.projects.list()]
    assert project.id in [each.id for each in organization.projects.list(include_archived=True)]
    assert organization.projects.api_keys.list(project.id).data == []

    with pytest.raises(AuthenticationError):
        ask(client)
    with pytest.raises(PermissionDeniedError, match="archived"):
        ask(inside)
    with pytest.raises(PermissionDeniedError, match="archived"):
        inside.files.delete(kept.id)
    with pytest.raises(PermissionDeniedError, match="archived"):
        organization.projects.update(project.id, name="on and on")
    with pytest.raises(PermissionDeniedError, match="archived"):
        organization.projects.archive(project.id)
    assert target.run(target.control.projects.archive(project.id)).archived == pytest.approx(ended.archived_at, abs=1)
    with pytest.raises(PermissionDeniedError, match="archived"):
        organization.projects.service_accounts.create(project.id, name="another")
    assert inside.files.content(kept.id).read() == b"kept"
    # Nor can it be opened again at the other doors.
    for work in (
        target.control.projects.put(project.id),
        target.control.projects.keys(project.id),
        target.control.projects.regenerate(project.id, "key1"),
        target.control.keys.create("late", project=project.id),
    ):
        with pytest.raises(Exception, match="archived"):
            target.run(work)
    assert ("deployment.delete", f"{project.id}/chat", admin_id(target)) in actions(target)
    assert ("project.archive", project.id, admin_id(target)) in actions(target)


def test_azures_control_plane_can_only_delete_what_is_archived(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="at Azure's door").id
    organization.projects.archive(project)
    group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/default/providers"
    account = f"{group}/Microsoft.CognitiveServices/accounts/{project}"
    with target.http() as client:

        def status(method: str, path: str = "", **more: Any) -> int:
            return client.request(method, f"{account}{path}", params={"api-version": API_VERSION}, **more).status_code

        assert status("PUT", json={"location": "local"}) == 403
        assert status("PUT", "/raiBlocklists/list", json={"properties": {}}) == 403
        assert status("POST", "/listKeys") == 403
        assert status("GET") == 200
        assert status("DELETE") == 200
        assert status("GET") == 404
    assert project not in [each.id for each in organization.projects.list(include_archived=True)]
    made = organization.projects.create(name="at Azure's door")
    assert (made.id, made.status) == (project, "active")


def test_the_default_project_stays(organization) -> None:
    with pytest.raises(ConflictError, match="default project cannot be archived"):
        organization.projects.archive("default")
    for call in (organization.projects.retrieve, organization.projects.archive):
        with pytest.raises(NotFoundError):
            call("no-such-project")


# -- keys and service accounts -----------------------------------------------------------------------------------------


def test_a_service_account_s_keys_work_until_it_is_deleted(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="programs").id
    deploy(target, project, "chat")
    accounts = organization.projects.service_accounts
    made = accounts.create(project, name="nightly", expires_in_seconds=3600)
    assert made.role == "member"
    assert made.api_key is not None
    assert made.api_key.expires_at == pytest.approx(time.time() + 3600, abs=60)
    other = accounts.api_keys.create(made.id, project_id=project, name="nightly, second")
    assert other.name == "nightly, second"
    clients = [target.sdk("openai", value) for value in (made.api_key.value, other.value)]
    assert all(ask(client).choices for client in clients)
    # Its keys are those of a user of this project: they manage nothing, and open no other.
    with pytest.raises(PermissionDeniedError):
        administrator(target, other.value).admin.organization.projects.api_keys.list(project)
    with pytest.raises(PermissionDeniedError):
        ask(target.sdk("openai", other.value, project="default"), "fake")

    assert accounts.update(made.id, project_id=project, name="daily", role="member").name == "daily"
    assert accounts.retrieve(made.id, project_id=project).name == "daily"
    assert [each.id for each in accounts.list(project)] == [made.id]
    keys = {each.id: each for each in organization.projects.api_keys.list(project)}
    owner = keys[other.id].owner
    assert (owner.type, owner.service_account.id, owner.service_account.name) == ("service_account", made.id, "daily")
    assert keys[other.id].redacted_value == f"{other.value[:8]}********"
    path = f"/projects/{project}/service_accounts"
    check("ProjectServiceAccountListResponse", raw(target, path))
    check("ProjectServiceAccount", raw(target, f"{path}/{made.id}"))
    check("ProjectApiKeyListResponse", raw(target, f"/projects/{project}/api_keys"))
    check("ProjectApiKey", raw(target, f"/projects/{project}/api_keys/{other.id}"))

    with pytest.raises(BadRequestError, match="service account") as caught:
        organization.projects.api_keys.delete(other.id, project_id=project)
    assert refused(caught.value) == "api_key_id"
    with pytest.raises(NotFoundError):
        accounts.delete(made.id, project_id="default")
    gone = accounts.delete(made.id, project_id=project)
    assert (gone.id, gone.deleted) == (made.id, True)
    for client in clients:
        with pytest.raises(AuthenticationError):
            ask(client)
    with pytest.raises(NotFoundError):
        accounts.retrieve(made.id, project_id=project)
    done = [action for action, subject, _ in actions(target) if subject in {made.id, other.id, made.api_key.id}]
    assert done == [
        "service_account.create", "key.create", "key.create", "service_account.update", "key.revoke", "key.revoke",
        "service_account.delete",
    ]  # fmt: skip


def test_an_account_without_a_role_gets_no_key(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="roleless").id
    accounts = organization.projects.service_accounts
    with target.http() as client:
        said = client.post(
            f"{FOLDER}/projects/{project}/service_accounts",
            json={"name": "later", "create_service_account_only": True},
        )
    check("ProjectServiceAccountCreateResponse", said.json())
    assert (said.json()["role"], said.json()["api_key"]) == ("none", None)
    made = said.json()["id"]
    with pytest.raises(BadRequestError, match="no role"):
        accounts.api_keys.create(made, project_id=project)
    assert accounts.update(made, project_id=project, role="member").role == "member"
    assert accounts.api_keys.create(made, project_id=project).value.startswith("ms-")
    for wrong, param in (
        ({"name": ""}, "name"),
        ({"name": "x", "expires_in_seconds": 0}, "expires_in_seconds"),
        ({"name": "x", "expires_in_seconds": 5, "create_service_account_only": True}, "expires_in_seconds"),
    ):
        with pytest.raises(BadRequestError) as caught:
            accounts.create(project, **wrong)
        assert refused(caught.value) == param
    with pytest.raises(BadRequestError) as caught:
        accounts.update(made, project_id=project, role="owner")
    assert refused(caught.value) == "role"
    with pytest.raises(BadRequestError) as caught:
        accounts.api_keys.create(made, project_id=project, scopes=["api.model.read"])
    assert refused(caught.value) == "scopes"


def test_a_key_that_was_made_elsewhere_is_listed_and_deleted(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="hand made").id
    deploy(target, project, "chat")
    secret = target.make_key(project=project, owner="somebody")
    key_id, keys = target.key_id(secret), organization.projects.api_keys
    found = keys.retrieve(key_id, project_id=project)
    assert (found.owner.type, found.owner.user, found.last_used_at) == ("user", None, None)
    assert ask(target.sdk("openai", secret)).choices
    assert keys.retrieve(key_id, project_id=project).last_used_at is not None
    with pytest.raises(NotFoundError):
        keys.retrieve(key_id, project_id="default")
    with pytest.raises(NotFoundError):
        keys.delete(key_id, project_id="default")
    assert ask(target.sdk("openai", secret)).choices, "another project's is not to be deleted there"
    assert [each.id for each in keys.list(project, limit=1)][-1] == key_id
    assert keys.list(project, owner_project_access="inactive").data == []
    assert keys.delete(key_id, project_id=project).deleted
    with pytest.raises(AuthenticationError):
        ask(target.sdk("openai", secret))
    with pytest.raises(NotFoundError):
        keys.delete(key_id, project_id=project)
    assert ("key.revoke", key_id, admin_id(target)) in actions(target)
    own = next(each for each in keys.list(project) if each.name == f"{project}/key1")
    with pytest.raises(BadRequestError, match="regenerated"):
        keys.delete(own.id, project_id=project)


def test_keys_of_administrators(target: GovernedTarget, organization) -> None:
    keys = organization.admin_api_keys
    made = keys.create(name="second administrator", expires_in_seconds=3600)
    check("AdminApiKeyCreateResponse", {**raw(target, f"/admin_api_keys/{made.id}"), "value": made.value})
    check("ApiKeyList", raw(target, "/admin_api_keys"))
    second = administrator(target, made.value).admin.organization
    assert next(iter(second.admin_api_keys.list(order="desc"))).id == made.id
    assert [each.id for each in keys.list(limit=1)][-1] == made.id
    assert made.id not in [each.id for each in organization.projects.api_keys.list("default")], "it is no project's"
    with pytest.raises(BadRequestError) as caught:
        keys.create(name="second administrator")
    assert refused(caught.value) == "name"
    with pytest.raises(BadRequestError) as caught:
        keys.create(name="x", expires_in_seconds=31_536_001)
    assert refused(caught.value) == "expires_in_seconds"
    user = target.key_id(target.make_key())
    for call in (keys.retrieve, keys.delete):
        with pytest.raises(NotFoundError):
            call(user)
    assert keys.delete(made.id).deleted
    with pytest.raises(AuthenticationError):
        second.admin_api_keys.list()
    assert ("key.create", made.id, admin_id(target)) in actions(target)


# -- who may -----------------------------------------------------------------------------------------------------------


def test_a_manager_manages_one_project_and_sees_no_other(target: GovernedTarget, organization) -> None:
    mine, other = (organization.projects.create(name=name).id for name in ("mine", "not mine"))
    manager = administrator(target, target.make_key(role="manager", project=mine)).admin.organization
    assert [each.id for each in manager.projects.list()] == [mine]
    assert manager.projects.update(mine, name="all mine").name == "all mine"
    assert manager.projects.service_accounts.create(mine, name="program").api_key
    forbidden = (
        lambda: manager.projects.retrieve(other),
        lambda: manager.projects.update(other, name="x"),
        lambda: manager.projects.archive(other),
        lambda: manager.projects.api_keys.list(other),
        lambda: manager.projects.service_accounts.create(other, name="x"),
        lambda: manager.projects.rate_limits.list_rate_limits(other),
        lambda: manager.projects.spend_limit.update(mine, threshold_amount=1, currency="USD", interval="month"),
        lambda: manager.projects.create(name="x"),
        lambda: manager.admin_api_keys.list(),
        lambda: manager.admin_api_keys.create(name="x"),
        lambda: manager.audit_logs.list(),
    )
    for call in forbidden:
        with pytest.raises(PermissionDeniedError) as caught:
            call()
        check("ErrorResponse", caught.value.response.json())
    # Whatever project else the request names, the one in the path counts.
    elsewhere = OpenAI(
        base_url=f"{target.base_url}/projects/{mine}/v1", admin_api_key=manager._client.admin_api_key, **STRICT
    )
    with elsewhere, pytest.raises(PermissionDeniedError):
        elsewhere.admin.organization.projects.api_keys.list(other)


def test_a_user_sees_a_project_and_changes_nothing(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="used").id
    user = administrator(target, target.make_key(project=project)).admin.organization
    assert user.projects.retrieve(project).id == project
    for call in (
        lambda: user.projects.update(project, name="x"),
        lambda: user.projects.archive(project),
        lambda: user.projects.api_keys.list(project),
        lambda: user.projects.service_accounts.create(project, name="x"),
    ):
        with pytest.raises(PermissionDeniedError):
            call()


def test_roles_are_what_they_are(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="with roles").id
    assert [each.name for each in organization.roles.list()] == ["admin", "user", "contributor", "manager", "reader"]
    assert [each.name for each in organization.roles.list(limit=2)][-1] == "reader"
    found = organization.projects.roles.list(project).data
    assert [each.id for each in found] == ["role-user", "role-contributor", "role-manager", "role-reader"]
    one = organization.projects.roles.retrieve("role-user", project_id=project)
    assert "inference" in one.permissions
    assert one.predefined_role
    assert organization.roles.retrieve("role-admin").resource_type == "api.organization"
    with pytest.raises(NotFoundError):
        organization.projects.roles.retrieve("role-admin", project_id=project)
    check("PublicRoleListResource", raw(target, "/roles"))
    check("Role", raw(target, "/roles/role-reader"))


# -- limits ------------------------------------------------------------------------------------------------------------


def test_rate_limits_are_the_capacity_of_deployments(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="limited").id
    deploy(target, project, "chat", capacity=10)
    deploy(target, project, "always", sku="ProvisionedManaged")
    limits = organization.projects.rate_limits
    [found] = limits.list_rate_limits(project).data
    assert (found.model, found.max_tokens_per_1_minute, found.max_requests_per_1_minute) == ("chat", 10_000, 60)
    check("ProjectRateLimitListResponse", raw(target, f"/projects/{project}/rate_limits"))
    changed = limits.update_rate_limit(found.id, project_id=project, max_tokens_per_1_minute=20_000)
    assert (changed.max_tokens_per_1_minute, changed.max_requests_per_1_minute) == (20_000, 120)
    assert target.run(target.control.projects.deployment(project, "chat")).capacity == 20
    both = {"max_tokens_per_1_minute": 1000, "max_requests_per_1_minute": 6}
    assert limits.update_rate_limit(found.id, project_id=project, **both).max_requests_per_1_minute == 6
    assert ("deployment.update", f"{project}/chat", admin_id(target)) in actions(target)
    for wrong, param in (
        ({"max_tokens_per_1_minute": 1500}, "max_tokens_per_1_minute"),
        ({"max_requests_per_1_minute": 7}, "max_requests_per_1_minute"),
        ({"max_requests_per_1_minute": 0}, "max_requests_per_1_minute"),
        ({"max_requests_per_1_minute": 6, "max_tokens_per_1_minute": 2000}, "max_requests_per_1_minute"),
        ({"max_requests_per_1_day": 5}, "max_requests_per_1_day"),
    ):
        with pytest.raises(BadRequestError) as caught:
            limits.update_rate_limit(found.id, project_id=project, **wrong)
        assert refused(caught.value) == param
    for named in ("rl-always", "rl-nothing"):
        with pytest.raises(NotFoundError):
            limits.update_rate_limit(named, project_id=project, max_tokens_per_1_minute=1000)
    deploy(target, project, "another")
    before = limits.list_rate_limits(project, before="rl-chat").data
    assert [each.id for each in before] == ["rl-another"]


def test_a_spend_limit_is_kept(target: GovernedTarget, organization) -> None:
    """A token costs a millionth: see `governed`."""
    project = organization.projects.create(name="thrifty").id
    deploy(target, project, "chat", capacity=1000)
    target.run(target.control.projects.put(project, limits=Limits(tokens_per_day=10**6)))
    spend = organization.projects.spend_limit
    with pytest.raises(NotFoundError):
        spend.retrieve(project)
    made = spend.update(project, threshold_amount=1, currency="USD", interval="month")
    assert (made.threshold_amount, made.enforcement.status) == (1, "inactive")
    check("ProjectSpendLimitResource", raw(target, f"/projects/{project}/spend_limit"))
    limits = target.run(target.control.projects.get(project)).limits
    assert limits == Limits(tokens_per_day=10**6, cost_per_month=10_000)
    client = target.sdk("openai", target.make_key(project=project))
    assert ask(client).choices
    with pytest.raises(APIStatusError) as caught:  # the prompt and 20,000 tokens are more than a cent
        client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "x" * 50_000}], max_tokens=20_000
        )
    assert caught.value.response.status_code in (400, 429)
    for wrong in ({"threshold_amount": 0}, {"threshold_amount": True}):
        with pytest.raises(BadRequestError) as refusal:
            spend.update(project, currency="USD", interval="month", **wrong)
        assert refused(refusal.value) == "threshold_amount"
    with pytest.raises(BadRequestError) as refusal:
        spend.update(project, threshold_amount=5, currency="EUR", interval="month")
    assert refused(refusal.value) == "currency"
    assert spend.delete(project).deleted
    assert not spend.delete(project).deleted
    assert target.run(target.control.projects.get(project)).limits == Limits(tokens_per_day=10**6)


# -- what was changed --------------------------------------------------------------------------------------------------


def test_the_audit_log_in_openais_words(target: GovernedTarget, organization) -> None:
    project = organization.projects.create(name="audited").id
    account = organization.projects.service_accounts.create(project, name="program")
    deploy(target, project, "chat")  # which OpenAI has no word for
    organization.projects.service_accounts.update(account.id, project_id=project, name="renamed")
    organization.projects.service_accounts.delete(account.id, project_id=project)
    organization.projects.update(project, name="Audited")
    organization.projects.archive(project)
    check("ListAuditLogsResponse", raw(target, "/audit_logs?limit=100"))
    logs = organization.audit_logs
    mine = list(logs.list(project_ids=[project]))
    assert [each.type for each in mine] == [
        "project.archived", "project.updated", "service_account.deleted", "api_key.deleted", "service_account.updated",
        "api_key.created", "service_account.created", "project.created",
    ]  # fmt: skip
    assert {each.project.id for each in mine} == {project}
    assert {each.actor.api_key.id for each in mine} == {admin_id(target)}
    assert mine[-1].project_created.data.title == "audited"
    assert mine[1].project_updated.changes_requested.title == "Audited"
    assert mine[5].api_key_created.id == account.api_key.id
    assert "inference" in mine[5].api_key_created.data.scopes
    assert [each.id for each in logs.list(project_ids=[project], limit=3)] == [each.id for each in mine]
    back = logs.list(project_ids=[project], before=mine[4].id, limit=2)
    assert [each.id for each in back.data] == [mine[2].id, mine[3].id]
    assert back.has_more
    first = logs.list(project_ids=[project], before=mine[2].id, limit=2)
    assert ([each.id for each in first.data], first.has_more) == ([mine[0].id, mine[1].id], False)
    kinds = logs.list(project_ids=[project], event_types=["project.created", "api_key.deleted"])
    assert [each.type for each in kinds] == ["api_key.deleted", "project.created"]
    assert logs.list(project_ids=[project], event_types=["login.failed"]).data == []
    assert [each.id for each in logs.list(resource_ids=[account.api_key.id])] == [mine[3].id, mine[5].id]
    assert logs.list(actor_ids=["nobody"]).data == []
    assert len(logs.list(actor_ids=[admin_id(target)], limit=100).data) >= len(mine)
    at = mine[-1].effective_at
    assert mine[-1].id in [each.id for each in logs.list(effective_at={"gte": at, "lte": at}, limit=100)]
    assert mine[-1].id not in [each.id for each in logs.list(effective_at={"gt": at})]
    assert logs.list(effective_at={"lt": 1000}).data == []


def test_who_changed_something_without_a_key(target: GovernedTarget, organization) -> None:
    target.run(target.control.projects.by("command line: root").open("by hand"))
    found = organization.audit_logs.list(event_types=["project.created"], limit=1).data[0]
    assert (found.actor.type, found.actor.session.user.id) == ("session", "command line: root")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"after": "x"}, "after"),
        ({"before": "audit_log-x"}, "before"),
        ({"after": "audit_log-1", "before": "audit_log-1"}, "before"),
        ({"actor_emails": ["a@b.example"]}, "actor_emails"),
        ({"effective_at": {"gt": 1_700_000_000_000}}, "effective_at[gt]"),
    ],
)
def test_what_the_audit_log_cannot_be_asked(organization, query: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        organization.audit_logs.list(**query)
    assert refused(caught.value) == param


def test_what_is_not_served_is_said_to_be_not(target: GovernedTarget) -> None:
    with target.http() as client:
        assert client.get(f"{FOLDER}/users").status_code == 404
        assert client.post(f"{FOLDER}/roles", json={}).status_code == 405


def test_a_title_survives_what_another_door_changes(target: GovernedTarget, tmp_path: Path) -> None:
    made = target.run(target.control.projects.open("Kept title"))
    target.run(target.control.projects.put(made.name, tags={"a": "b"}))
    assert target.run(target.control.projects.get(made.name)).title == "Kept title"
