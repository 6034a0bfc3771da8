"""The control plane with Microsoft's own management client, unmodified, over a real socket."""

import contextlib
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceExistsError
from azure.core.exceptions import ResourceNotFoundError as Missing
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient, models
from openai import AuthenticationError, AzureOpenAI, BadRequestError, NotFoundError, PermissionDeniedError

from mainspring.api.control import arm
from mainspring.core.types import Limits
from tests.contract.target import API_VERSION, GovernedTarget, governed, in_catalog

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
OLD, NEW = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
GROUP = "lab"
PLAIN = {"enforce_https": False}
"""Loopback has no TLS, and the client sends tokens over plain HTTP only if it is told to."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("control")
    in_catalog(home, "tiny", OLD, created=1)
    in_catalog(home, "tiny", NEW, created=2)
    in_catalog(home, "vectors", "cccccccccccc", kind="embedding")
    return home


@pytest.fixture(scope="module")
def target(home: Path) -> Generator[GovernedTarget]:
    with governed(home) as found:
        yield found


def manager(target: GovernedTarget, key: str | None = None) -> CognitiveServicesManagementClient:
    """With a key; `by_token` below is the same with a bearer token."""
    policy = AzureKeyCredentialPolicy(AzureKeyCredential(key or target.key), "api-key")
    return CognitiveServicesManagementClient(
        SimpleNamespace(), SUBSCRIPTION, base_url=target.base_url, authentication_policy=policy,  # type: ignore[arg-type]
        polling_interval=0, retry_total=0,
    )  # fmt: skip


@pytest.fixture
def client(target: GovernedTarget) -> Generator[CognitiveServicesManagementClient]:
    with manager(target) as made:
        yield made


@pytest.fixture
def account(client: CognitiveServicesManagementClient, request: pytest.FixtureRequest) -> Generator[models.Account]:
    """An account of the test's own, gone when it ends."""
    name = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:60].strip("-")
    made = client.accounts.begin_create(GROUP, name, _account()).result()
    yield made
    left = client.deployments.list(GROUP, name)
    for each in sorted(left, key=lambda one: not one.properties.spillover_deployment_name):
        client.deployments.begin_delete(GROUP, name, each.name).result()
    client.accounts.begin_delete(GROUP, name).result()


def _account(**more: Any) -> models.Account:
    return models.Account(location="local", kind="OpenAI", sku=models.Sku(name="S0"),
                          properties=models.AccountProperties(), **more)  # fmt: skip


def deployment(model: str = "tiny", sku: str = "Standard", capacity: int = 100, **more: Any) -> models.Deployment:
    version = more.pop("version", None)
    return models.Deployment(
        sku=models.Sku(name=sku, capacity=capacity),
        properties=models.DeploymentProperties(
            model=models.DeploymentModel(format="OpenAI", name=model, version=version), **more
        ),
    )


def deploy(client: CognitiveServicesManagementClient, account: models.Account, name: str, **more: Any):
    return client.deployments.begin_create_or_update(GROUP, account.name, name, deployment(**more)).result()


def inference(client: Any, account: models.Account, key: str | None = None) -> AzureOpenAI:
    return AzureOpenAI(
        azure_endpoint=account.properties.endpoint, api_version=API_VERSION, max_retries=0,
        api_key=key or client.accounts.list_keys(GROUP, account.name).key1,
    )  # fmt: skip


def chat(client: AzureOpenAI, model: str, text: str = "hello") -> str:
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], max_tokens=5)
    return answer.choices[0].message.content or ""


def raw(target: GovernedTarget, method: str, path: str, **more: Any) -> httpx.Response:
    with target.http() as http:
        return http.request(method, path, params={"api-version": "2025-09-01"}, **more)


# -- accounts ----------------------------------------------------------------------------------------------------------


def test_the_life_of_an_account(client: CognitiveServicesManagementClient) -> None:
    made = client.accounts.begin_create(GROUP, "Life", _account(tags={"team": "red"})).result()
    assert made.id == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.CognitiveServices/accounts/life"
    )
    assert (made.name, made.kind, made.sku.name, made.tags) == ("life", "OpenAI", "S0", {"team": "red"})
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.endpoint.endswith("/projects/life/")
    assert made.etag
    assert made.system_data.created_at is not None
    assert client.accounts.get(GROUP, "life").etag == made.etag

    changed = client.accounts.begin_update(GROUP, "life", models.Account(tags={"team": "blue"})).result()
    assert changed.tags == {"team": "blue"}
    assert changed.location == "local"
    assert changed.etag != made.etag
    assert "life" in {each.name for each in client.accounts.list()}
    assert [each.name for each in client.accounts.list_by_resource_group("LAB")] == ["life"]
    assert list(client.accounts.list_by_resource_group("other")) == []
    with pytest.raises(Missing) as caught:
        client.accounts.get("other", "life")
    assert caught.value.error.code == "ResourceNotFound"
    with pytest.raises(ResourceExistsError):  # the name is taken, in another group
        client.accounts.begin_create("other", "life", _account()).result()

    client.accounts.begin_delete(GROUP, "life").result()
    client.accounts.begin_delete(GROUP, "life").result()  # of what is not there, nothing is left to do
    with pytest.raises(Missing):
        client.accounts.get(GROUP, "life")
    assert list(client.deleted_accounts.list()) == []


def test_one_key_is_regenerated_and_the_other_goes_on(client, account) -> None:
    deploy(client, account, "mine")
    before = client.accounts.list_keys(GROUP, account.name)
    assert before.key1 != before.key2
    for key in (before.key1, before.key2):
        assert chat(inference(client, account, key), "mine")
    after = client.accounts.regenerate_key(GROUP, account.name, "Key1")
    assert (after.key1 != before.key1, after.key2) == (True, before.key2)
    with pytest.raises(AuthenticationError):
        chat(inference(client, account, before.key1), "mine")
    for key in (after.key1, after.key2):
        assert chat(inference(client, account, key), "mine")
    assert client.accounts.list_keys(GROUP, account.name).key1 == after.key1


def test_a_key_of_an_account_is_good_for_nothing_else(target, client, account) -> None:
    keys = client.accounts.list_keys(GROUP, account.name)
    with manager(target, keys.key1) as other:
        with pytest.raises(HttpResponseError) as caught:
            other.accounts.list_keys(GROUP, account.name)
        assert (caught.value.status_code, caught.value.error.code) == (403, "AuthorizationFailed")
        with pytest.raises(HttpResponseError):
            other.accounts.get("default", "default")
        assert [each.name for each in other.accounts.list()] == [account.name]


def test_an_account_in_the_path_is_what_rights_are_needed_in(target: GovernedTarget, client, account) -> None:
    """Neither the prefix of another project nor its header lends its rights."""
    key = target.make_key(Limits(), role="manager", project=account.name)
    path = "/resourceGroups/default/providers/Microsoft.CognitiveServices/accounts/default/listKeys"
    own = f"/resourceGroups/{GROUP}/providers/Microsoft.CognitiveServices/accounts/{account.name}/listKeys"
    with target.http(key) as http:
        for prefix, headers in ((f"/projects/{account.name}", {}), ("", {"openai-project": account.name})):
            for wanted, status in ((path, 403), (own, 200)):
                url = f"{prefix}/subscriptions/{SUBSCRIPTION}{wanted}?api-version=2025-09-01"
                assert http.post(url, headers=headers).status_code == status


def test_with_a_bearer_token_as_azure_identity_gives_it(target: GovernedTarget) -> None:
    def credential(token: str) -> Any:
        return SimpleNamespace(get_token=lambda *_, **__: AccessToken(token, int(time.time()) + 3600))

    with CognitiveServicesManagementClient(credential(target.key), SUBSCRIPTION, base_url=target.base_url) as made:
        assert "default" in {each.name for each in made.accounts.list(**PLAIN)}
        poller = made.accounts.begin_create(GROUP, "by-token", _account(), **PLAIN)
        assert poller.result().name == "by-token"
        made.accounts.begin_delete(GROUP, "by-token", **PLAIN).result()
    with CognitiveServicesManagementClient(credential("ms-wrong"), SUBSCRIPTION, base_url=target.base_url) as made:
        with pytest.raises(ClientAuthenticationError) as caught:
            list(made.accounts.list(**PLAIN))
        assert caught.value.error.code == "AuthenticationFailed"


def test_lists_come_in_pages(client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "PAGE_SIZE", 2)
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        client.accounts.begin_create("pages", name, _account()).result()
    pages = [[each.name for each in one] for one in client.accounts.list_by_resource_group("pages").by_page()]
    assert pages == [names[:2], names[2:4], names[4:]]
    assert [each.name for each in client.accounts.list_by_resource_group("pages")] == names
    for name in names:
        client.accounts.begin_delete("pages", name).result()


# -- deployments -------------------------------------------------------------------------------------------------------


def test_a_deployment_is_made_used_and_resized(target, client, account) -> None:
    made = deploy(client, account, "mine", version_upgrade_option="NoAutoUpgrade")
    assert made.properties.model.version == NEW
    assert (made.sku.name, made.sku.capacity) == ("Standard", 100)
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.capabilities["chatCompletion"] == "true"
    assert {rule.key: (rule.renewal_period, rule.count) for rule in made.properties.rate_limits} == {
        "request": (10, 100), "token": (60, 100_000)
    }  # fmt: skip
    user = inference(client, account)
    assert chat(user, "mine")
    assert target.engine.requests[-1].model == f"tiny@{NEW}"
    said = user.chat.completions.with_raw_response.create(
        model="mine", messages=[{"role": "user", "content": "hello"}], max_tokens=5
    ).headers
    assert said["x-ratelimit-limit-tokens"] == "100000"

    smaller = client.deployments.begin_update(
        GROUP, account.name, "mine", models.PatchResourceTagsAndSku(sku=models.Sku(name="Standard", capacity=60))
    ).result()
    assert (smaller.sku.capacity, smaller.properties.version_upgrade_option) == (60, "NoAutoUpgrade")
    assert smaller.etag != made.etag
    assert [each.name for each in client.deployments.list(GROUP, account.name)] == ["mine"]
    skus = {each.sku.name: each.capacity for each in client.deployments.list_skus(GROUP, account.name, "mine")}
    assert skus["Standard"].maximum > skus["Standard"].minimum == 1

    client.deployments.begin_delete(GROUP, account.name, "mine").result()
    with pytest.raises(NotFoundError):
        chat(user, "mine")
    with pytest.raises(Missing):
        client.deployments.get(GROUP, account.name, "mine")
    client.deployments.begin_delete(GROUP, account.name, "mine").result()


def test_another_version_answers_without_a_pause(target, client, account) -> None:
    deploy(client, account, "mine", version=OLD, version_upgrade_option="NoAutoUpgrade")
    user = inference(client, account)
    chat(user, "mine")
    assert target.engine.requests[-1].model == f"tiny@{OLD}"
    again = deploy(client, account, "mine", capacity=20, version_upgrade_option="NoAutoUpgrade")
    assert again.properties.model.version == OLD  # who resizes does not move it
    deploy(client, account, "mine", version=NEW, version_upgrade_option="NoAutoUpgrade")
    chat(user, "mine")
    assert target.engine.requests[-1].model == f"tiny@{NEW}"


def test_a_pause_and_its_end(target, client, account) -> None:
    deploy(client, account, "mine")
    user = inference(client, account)
    url = f"{account.id}/deployments/mine"
    assert raw(target, "POST", f"{url}/pause").json()["properties"]["deploymentState"] == "Paused"
    with pytest.raises(PermissionDeniedError, match="paused"):
        chat(user, "mine")
    assert deploy(client, account, "mine", capacity=5).sku.capacity == 5  # a new size does not resume it
    with pytest.raises(PermissionDeniedError):
        chat(user, "mine")
    assert raw(target, "POST", f"{url}/resume").json()["properties"]["deploymentState"] == "Running"
    assert chat(user, "mine")
    body = {"properties": {"deploymentState": "Paused"}}
    assert raw(target, "PATCH", url, json=body).json()["properties"]["deploymentState"] == "Paused"
    raw(target, "POST", f"{url}/resume")


def test_what_spills_over(target, client, account) -> None:
    deploy(client, account, "other")
    made = deploy(client, account, "mine", sku="ProvisionedManaged", version=OLD, spillover_deployment_name="other")
    assert made.properties.spillover_deployment_name == "other"
    user = inference(client, account)
    target.engine.states[f"tiny@{OLD}"] = "gone"
    said = user.chat.completions.with_raw_response.create(
        model="mine", messages=[{"role": "user", "content": "hello"}], max_tokens=5
    ).headers
    target.engine.states.clear()
    assert (said["x-ms-spillover-from-deployment"], said["x-ms-deployment-name"]) == ("mine", "other")
    with pytest.raises(ResourceExistsError, match="spills over"):
        client.deployments.begin_delete(GROUP, account.name, "other").result()
    with pytest.raises(HttpResponseError) as caught:
        deploy(client, account, "third", sku="ProvisionedManaged", spillover_deployment_name="absent")
    assert caught.value.error.target == "properties.spilloverDeploymentName"


def test_a_provisioned_deployment_is_polled_until_it_is_loaded(target: GovernedTarget, client, account) -> None:
    target.engine.states[f"tiny@{NEW}"] = "starting"
    try:
        poller = client.deployments.begin_create_or_update(
            GROUP, account.name, "mine", deployment(sku="ProvisionedManaged")
        )
        assert poller.status() == "Creating"
        assert raw(target, "GET", f"{account.id}/deployments/mine").headers["retry-after"] == "1"
        assert client.deployments.get(GROUP, account.name, "mine").properties.provisioning_state == "Creating"
        target.engine.states.clear()
        assert poller.result(20).properties.provisioning_state == "Succeeded"
        target.engine.states[f"tiny@{NEW}"] = "failed"
        failed = deploy(client, account, "mine", sku="ProvisionedManaged")
        assert failed.properties.provisioning_state == "Failed"
    finally:
        target.engine.states.clear()


def test_a_stream_outlives_its_deployment(target, client, account) -> None:
    deploy(client, account, "mine")
    stream = inference(client, account).chat.completions.create(
        model="mine", messages=[{"role": "user", "content": "hello"}], max_tokens=40, stream=True
    )
    first = next(chunk for chunk in stream if chunk.choices)
    client.deployments.begin_delete(GROUP, account.name, "mine").result()
    rest = [chunk.choices[0] for chunk in stream if chunk.choices]
    assert first is not None
    assert rest[-1].finish_reason in ("stop", "length")
    with pytest.raises(NotFoundError):
        chat(inference(client, account), "mine")


def test_more_than_the_quota_is_refused(target: GovernedTarget, client, account) -> None:
    target.run(target.control.projects.set_capacity("GlobalStandard", "tiny", 5))
    deploy(client, account, "mine", sku="GlobalStandard", capacity=5)
    with pytest.raises(HttpResponseError) as caught:
        deploy(client, account, "second", sku="GlobalStandard", capacity=1)
    assert (caught.value.status_code, caught.value.error.code) == (400, "InsufficientQuota")
    assert not isinstance(caught.value, ResourceExistsError)
    target.run(target.control.projects.set_capacity("GlobalStandard", "tiny", 3))
    kept = deploy(client, account, "mine", sku="GlobalStandard", capacity=5, version=OLD)
    assert kept.properties.model.version == OLD
    body = {"properties": {"dynamicThrottlingEnabled": True}}
    changed = raw(target, "PATCH", f"{account.id}/deployments/mine", json=body).json()
    assert changed["properties"]["dynamicThrottlingEnabled"]
    usage = {each.name.value: each for each in client.usages.list("anywhere")}["OpenAI.GlobalStandard.tiny"]
    assert (usage.current_value, usage.limit) == (5, 3)
    own = {each.name.value: each for each in client.accounts.list_usages(GROUP, account.name).value}
    assert own["OpenAI.GlobalStandard.tiny"].current_value == 5
    capacity = {each.properties.sku_name: each for each in client.model_capacities.list("OpenAI", "tiny", NEW)}
    assert capacity["GlobalStandard"].properties.available_capacity == 0
    assert capacity["Standard"].properties.available_capacity > 0


@pytest.mark.parametrize(
    ("body", "code", "at"),
    [
        ({}, "InvalidRequestContent", "properties.model.name"),
        ({"properties": {"model": {"name": "absent"}}}, "DeploymentModelNotSupported", None),
        ({"properties": {"model": {"name": "tiny", "format": "Other"}}}, "DeploymentModelNotSupported", None),
        ({"properties": {"model": {"name": 5}}}, "InvalidRequestContent", "properties.model.name"),
        ({"properties": []}, "InvalidRequestContent", "properties"),
        ({"sku": {"capacity": "1"}}, "InvalidRequestContent", "sku.capacity"),
        ({"sku": {"name": "Gold"}, "properties": {"model": {"name": "tiny"}}}, "InvalidResourceProperties", "sku.name"),
        ({"sku": {"capacity": 0}, "properties": {"model": {"name": "tiny"}}}, "InvalidResourceProperties",
         "sku.capacity"),
        ({"properties": {"model": {"name": "tiny"}, "raiPolicyName": "absent"}}, "InvalidResourceProperties",
         "properties.raiPolicyName"),
        ({"properties": {"model": {"name": "tiny"}, "versionUpgradeOption": "Never"}}, "InvalidResourceProperties",
         "properties.versionUpgradeOption"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(target, client, account, body, code, at) -> None:
    answer = raw(target, "PUT", f"{account.id}/deployments/mine", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert at is None or error["target"] == at
    assert set(error) <= {"code", "message", "target"}


def test_unknown_properties_are_ignored(target, client, account) -> None:
    body = {"new": 1, "properties": {"model": {"name": "tiny", "publisher": "x"}, "scaleSettings": {"a": 1}}}
    assert raw(target, "PUT", f"{account.id}/deployments/mine", json=body).status_code == 201


def test_a_request_that_is_none_of_arm_s(target: GovernedTarget) -> None:
    accounts = "/providers/Microsoft.CognitiveServices/accounts"
    with target.http() as http:
        for url, status, code in (
            (f"/subscriptions/{SUBSCRIPTION}{accounts}", 400, "MissingApiVersionParameter"),
            (f"/subscriptions/{SUBSCRIPTION}{accounts}?api-version=new", 400, "InvalidApiVersionParameter"),
            (f"/subscriptions/mine{accounts}?api-version=2025-09-01", 400, "InvalidSubscriptionId"),
            (f"/subscriptions/{SUBSCRIPTION}/nothing?api-version=2025-09-01", 404, "ResourceNotFound"),
        ):
            answer = http.get(url)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    with pytest.raises(HttpResponseError) as caught, manager(target) as made:
        made.accounts.begin_create(GROUP, "a_b", _account()).result()
    assert caught.value.error.code == "InvalidResourceName"


# -- policies and blocklists -------------------------------------------------------------------------------------------


def test_a_blocklist_blocks_and_its_removal_restores_service(target, client, account) -> None:
    lists, items, policies = client.rai_blocklists, client.rai_blocklist_items, client.rai_policies
    where = GROUP, account.name
    made = lists.create_or_update(*where, "words", models.RaiBlocklist(
        properties=models.RaiBlocklistProperties(description="not here")))  # fmt: skip
    assert made.properties.description == "not here"
    item = items.create_or_update(*where, "words", "first", models.RaiBlocklistItem(
        properties=models.RaiBlocklistItemProperties(pattern="wombat", is_regex=False)))  # fmt: skip
    assert (item.name, item.properties.pattern, item.properties.is_regex) == ("first", "wombat", False)
    several = [
        models.RaiBlocklistItemBulkRequest(
            name=f"more-{n}", properties=models.RaiBlocklistItemProperties(pattern=f"x{n}[0-9]+y", is_regex=True)
        )
        for n in range(3)
    ]
    assert items.batch_add(*where, "words", several).name == "words"
    assert [each.name for each in items.list(*where, "words")] == ["first", "more-0", "more-1", "more-2"]
    items.batch_delete(*where, "words", ["more-0", "more-1"])
    items.begin_delete(*where, "words", "more-2").result()
    assert [each.name for each in items.list(*where, "words")] == ["first"]
    assert items.get(*where, "words", "first").etag == item.etag

    policy = policies.create_or_update(*where, "strict", models.RaiPolicy(properties=models.RaiPolicyProperties(
        base_policy_name="Microsoft.Default", mode="Blocking",
        content_filters=[models.RaiPolicyContentFilter(
            name="Violence", enabled=True, blocking=True, severity_threshold="Low", source="Prompt")],
        custom_blocklists=[models.CustomBlocklistConfig(blocklist_name="words", blocking=True, source="Prompt")],
    )))  # fmt: skip
    assert policy.properties.content_filters[0].severity_threshold == "Low"
    assert {each.name for each in policies.list(*where)} == {"Microsoft.Default", "Microsoft.DefaultV2", "strict"}
    assert policies.get(*where, "Microsoft.Default").properties.type == "SystemManaged"
    deploy(client, account, "mine", rai_policy_name="strict")
    user = inference(client, account)
    with pytest.raises(BadRequestError) as caught:
        chat(user, "mine", "a wombat")
    assert caught.value.code == "content_filter"
    _explained(target, caught.value.response.headers["x-request-id"], "wombat")

    for refused in (lambda: policies.begin_delete(*where, "strict"), lambda: lists.begin_delete(*where, "words")):
        with pytest.raises(ResourceExistsError, match="used by"):
            refused()
    items.begin_delete(*where, "words", "first").result()
    assert chat(user, "mine", "a wombat")
    client.deployments.begin_delete(*where, "mine").result()
    policies.begin_delete(*where, "strict").result()
    lists.begin_delete(*where, "words").result()
    for missing in (lambda: policies.get(*where, "strict"), lambda: lists.get(*where, "words")):
        with pytest.raises(Missing):
            missing()


def _explained(target: GovernedTarget, request_id: str, term: str) -> None:
    """An administrator is told why; nobody else is."""
    path = f"/v1/x/requests/{request_id}"
    deadline = time.monotonic() + 120
    with target.http() as http:
        while (answer := http.get(path)).status_code == 404 and time.monotonic() < deadline:
            threading.Event().wait(0.05)  # the ledger is written once in a while
    [record] = answer.json()["data"]
    assert record["id"].endswith(request_id)
    assert (record["filtered"], record["outcome"]) == ("prompt", "content_filter")
    assert [hit["matched"] for hit in record["hits"] if hit["category"] == "custom_blocklists"] == [term]
    with target.http() as http:
        assert http.get(f"/v1/x/requests/{record['id']}").json() == answer.json()
    for role, project, status in (("user", "default", 403), ("manager", "default", 404)):
        with target.http(target.make_key(Limits(), role=role, project=project)) as http:
            assert http.get(path).status_code == status
    with target.http(target.make_key(Limits(), role="manager", project=record["project"])) as http:
        assert http.get(path).status_code == 200


def test_refused_patterns_and_policies(client, account) -> None:
    where = GROUP, account.name
    client.rai_blocklists.create_or_update(*where, "words", models.RaiBlocklist())
    with pytest.raises(HttpResponseError) as caught:
        client.rai_blocklist_items.create_or_update(*where, "words", "bad", models.RaiBlocklistItem(
            properties=models.RaiBlocklistItemProperties(pattern="(", is_regex=True)))  # fmt: skip
    assert caught.value.status_code == 400
    with pytest.raises(HttpResponseError) as caught:
        client.rai_policies.create_or_update(*where, "bad", models.RaiPolicy(properties=models.RaiPolicyProperties(
            content_filters=[models.RaiPolicyContentFilter(name="Nothing", source="Prompt")])))  # fmt: skip
    assert caught.value.error.code == "InvalidResourceProperties"
    with pytest.raises(Missing):
        client.rai_blocklist_items.get(*where, "absent", "x")
    with pytest.raises(Missing):
        list(client.rai_blocklist_items.list(*where, "absent"))


# -- what there is -----------------------------------------------------------------------------------------------------


def test_models_and_skus(client, account) -> None:
    found = {(each.name, each.version): each for each in client.accounts.list_models(GROUP, account.name)}
    assert set(found) == {("tiny", OLD), ("tiny", NEW), ("vectors", "cccccccccccc")}
    assert (found["tiny", NEW].is_default_version, found["tiny", OLD].is_default_version) == (True, False)
    assert found["vectors", "cccccccccccc"].capabilities["embeddings"] == "true"
    assert {"Standard", "ProvisionedManaged"} <= {sku.name for sku in found["tiny", NEW].skus}
    assert {each.model.name for each in client.models.list("anywhere")} == {"tiny", "vectors"}
    assert len(list(client.location_based_model_capacities.list("here", "OpenAI", "tiny", OLD))) > 5
    assert [each.name for each in client.resource_skus.list()] == ["S0"]
    assert [each.sku.name for each in client.accounts.list_skus(GROUP, account.name).value] == ["S0"]
    names = {each.name for each in client.operations.list()}
    assert "Microsoft.CognitiveServices/accounts/deployments/write" in names
    assert "Microsoft.CognitiveServices/accounts/listKeys/action" in names
    filters = {each.name: each.properties for each in client.rai_content_filters.list("here")}
    assert filters["Hate.Prompt"].is_multi_level_filter
    assert "Jailbreak.Completion" not in filters
    assert client.rai_content_filters.get("here", "Jailbreak.Prompt").properties.source == "Prompt"


def test_questions_before_deploying(client, account) -> None:
    model = models.DeploymentModel(format="OpenAI", name="tiny", version=NEW)
    each = models.ModelCapacityCalculatorWorkloadRequestParam(avg_prompt_tokens=10, avg_generated_tokens=15)
    workloads = [models.ModelCapacityCalculatorWorkload(request_per_minute=60, request_parameters=each)]
    for sku, units in (("Standard", 10), ("ProvisionedManaged", 2)):  # 60 requests / 6; 1,500 tokens / 1,000
        said = client.calculate_model_capacity(model=model, sku_name=sku, workloads=workloads)
        assert said.estimated_capacity.value == units
    kind = "Microsoft.CognitiveServices/accounts"
    assert client.check_domain_availability(subdomain_name="free", type=kind).is_subdomain_available
    assert not client.check_domain_availability(subdomain_name=account.name, type=kind).is_subdomain_available
    skus = client.check_sku_availability("here", skus=["S0", "F9"], kind="OpenAI", type=kind).value
    assert {each.sku_name: each.sku_available for each in skus} == {"S0": True, "F9": False}


def test_the_audit_log_names_who_did_it(target: GovernedTarget, client, account) -> None:
    with target.http() as http:
        entries = http.get("/v1/x/audit", params={"newest": 5}).json()["data"]
        assert len(entries) == 5
        made = next(each for each in entries if each["subject"] == account.name)
        assert made["action"] == "project.create"
        assert made["actor"].startswith("key_")
        for wrong in ("0", "1001", "x", "-1"):
            assert http.get("/v1/x/audit", params={"newest": wrong}).status_code == 400
    with target.http(target.make_key(Limits(), role="manager")) as http:
        assert http.get("/v1/x/audit").status_code == 403


def test_the_base_url_is_what_a_proxy_says(target, client, account) -> None:
    url = f"{account.id}"
    for headers, endpoint in (
        ({"host": "ai.example.org", "x-forwarded-prefix": "/ai"}, "http://ai.example.org/ai/projects/"),
        ({"host": "ai.example.org", "x-forwarded-proto": "https"}, "https://ai.example.org/projects/"),
        ({"host": "evil/..", "x-forwarded-prefix": "//evil"}, "http://localhost/projects/"),
    ):
        with contextlib.suppress(httpx.RemoteProtocolError):
            answer = raw(target, "GET", url, headers=headers)
            assert answer.json()["properties"]["endpoint"] == f"{endpoint}{account.name}/"
