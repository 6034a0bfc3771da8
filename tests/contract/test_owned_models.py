"""What a project has trained is its own: seen, called, deployed and deleted by nobody else, unless it is shared."""

from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
from openai import ConflictError, NotFoundError, OpenAI, PermissionDeniedError

from mainspring.core.errors import Conflict, Forbidden, ModelNotFound
from mainspring.governance.wanted import DEVELOPER_S, Deployment
from tests.contract.target import API_VERSION, GovernedTarget, governed, in_catalog

MODEL = "ft:tiny:red:mine:a1b2c3"
CHECKPOINT = f"{MODEL}:ckpt-step-5"
ACCOUNTS = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/default/providers/Microsoft.CognitiveServices"
    "/accounts"
)


@pytest.fixture
def target(tmp_path: Path) -> Generator[GovernedTarget]:
    base = in_catalog(tmp_path, "tiny", "1")
    for number, name in enumerate((MODEL, CHECKPOINT)):
        in_catalog(tmp_path, name, str(number), project="red", base=base.id, is_adapter=True)
    in_catalog(tmp_path, "ft:tiny:default::ffffff", "1", project="default")
    with governed(tmp_path) as found:

        async def make() -> None:
            for name in ("red", "blue"):
                await found.control.projects.put(name)
            await found.control.directory.refresh(found.control.projects)

        found.run(make())
        yield found


def client(target: GovernedTarget, project: str, dialect: str = "openai", role: str = "contributor") -> OpenAI:
    key = target.make_key(role=role, project=project)
    return target.sdk(dialect, key)


def ask(client: OpenAI, model: str):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=3)


@pytest.mark.parametrize("dialect", ["openai", "azure", "azure_v1"])
def test_its_own_project_sees_and_calls_it(target: GovernedTarget, dialect: str) -> None:
    red = client(target, "red", dialect)
    assert {each.id for each in red.models.list()} == {MODEL, CHECKPOINT}
    assert red.models.retrieve(MODEL).id == MODEL
    for name in (MODEL, CHECKPOINT, f"{MODEL}@0"):
        answer = ask(red, name)
        assert (answer.model, bool(answer.choices)) == (name, True)
    with pytest.raises(NotFoundError):  # what is everybody's has to be deployed in a project
        ask(red, "tiny@1")


@pytest.mark.parametrize("project", ["blue", "default"])
def test_another_project_cannot_list_call_describe_deploy_or_delete_it(target: GovernedTarget, project: str) -> None:
    other = client(target, project)
    assert not {MODEL, CHECKPOINT} & {each.id for each in other.models.list()}
    for name in (MODEL, CHECKPOINT, f"{MODEL}@0"):
        for attempt in (
            lambda name=name: ask(other, name),
            lambda name=name: other.models.retrieve(name),
            lambda name=name: other.models.delete(name),
        ):
            with pytest.raises(NotFoundError) as found:
                attempt()
            assert found.value.code == "model_not_found"
    with target.http() as http:  # an administrator, whose rights are not what decides
        body = {
            "sku": {"name": "Standard", "capacity": 1},
            "properties": {"model": {"format": "OpenAI", "name": MODEL}},
        }
        path = f"{ACCOUNTS}/{project}/deployments/mine"
        refused = http.put(path, params={"api-version": API_VERSION}, json=body)
        absent = http.put(
            path,
            params={"api-version": API_VERSION},
            json=msgspec.json.decode(msgspec.json.encode(body).replace(MODEL.encode(), b"ft:tiny:red:gone:000000")),
        )
        assert refused.status_code == absent.status_code == 400, (
            refused.text
        )  # ARM's status for a model that is not there
        message, of_absent = (each.json()["error"]["message"] for each in (refused, absent))
        assert message.replace(MODEL, "") == of_absent.replace("ft:tiny:red:gone:000000", ""), (
            "it is told that there is one"
        )


def test_what_does_not_exist_names_nothing_of_others(target: GovernedTarget) -> None:
    for project in ("blue", "default"):
        with pytest.raises(NotFoundError) as found:
            ask(client(target, project), "absent")
        assert "red" not in str(found.value)


def test_the_control_plane_lists_it_in_its_own_account(target: GovernedTarget) -> None:
    with target.http() as http:
        names = {}
        for project in ("red", "blue"):
            found = http.get(f"{ACCOUNTS}/{project}/models", params={"api-version": API_VERSION}).json()["value"]
            names[project] = {each["name"] for each in found}
    assert MODEL in names["red"]
    assert names["blue"] == {"tiny"}
    place = "/subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.CognitiveServices/locations/local"
    for role, project, expected in (("contributor", "blue", False), ("contributor", "red", True)):
        with target.http(target.make_key(role=role, project=project)) as http:
            for path in ("models", "usages", "modelCapacities"):
                query = {"api-version": API_VERSION, "modelName": MODEL, "modelVersion": "0", "modelFormat": "OpenAI"}
                reply = http.get(f"{place}/{path}", params=query)
                assert reply.status_code == 200
                assert (MODEL in reply.text) == expected, path


def test_it_is_deployed_and_the_developer_tier_ends(target: GovernedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    red, control = client(target, "red"), target.control

    async def deploy() -> Deployment:
        wanted = Deployment(project="red", name="mine", model=MODEL, version="", sku="DeveloperTier")
        made, _ = await control.projects.deploy(wanted)
        await control.directory.refresh(control.projects)
        return made

    made = target.run(deploy())
    assert made.expires == pytest.approx(made.created + DEVELOPER_S)
    assert {each.id for each in red.models.list()} == {MODEL, CHECKPOINT, "mine"}
    assert ask(red, "mine").choices
    with pytest.raises(ConflictError, match="mine"):
        red.models.delete(MODEL)
    monkeypatch.setattr(control.directory, "_clock", Later(made.expires))
    target.run(control.directory.reconcile(control.projects))
    with pytest.raises(NotFoundError):
        ask(red, "mine")
    assert ask(red, MODEL).choices  # the model is the project's all the same


class Later:
    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def now(self) -> float:
        return self._now_s


@pytest.mark.parametrize("dialect", ["openai", "azure_v1"])
def test_its_project_deletes_it(target: GovernedTarget, dialect: str) -> None:
    red = client(target, "red", dialect)
    with pytest.raises(PermissionDeniedError):
        client(target, "red", dialect, role="user").models.delete(MODEL)
    gone = red.models.delete(CHECKPOINT)
    assert (gone.id, gone.object, gone.deleted) == (CHECKPOINT, "model", True)
    assert [each.name for each in target.control.versions() if each.project == "red"] == [MODEL]
    with pytest.raises(NotFoundError):
        red.models.delete(CHECKPOINT)
    entry = target.run(target.control.audit.list(newest=1))[0]
    assert (entry.action, entry.subject) == ("model.delete", CHECKPOINT)
    assert target.run(target.control.audit.verify()).broken is None


def test_nobody_deletes_what_is_everybodys(target: GovernedTarget) -> None:
    with pytest.raises(PermissionDeniedError, match="not the project's own"):
        client(target, "red").models.delete("tiny")
    with pytest.raises(PermissionDeniedError):
        target.sdk("openai").models.delete("tiny")
    assert any(each.name == "tiny" for each in target.control.versions())


def test_a_base_of_others_stays(target: GovernedTarget) -> None:
    in_catalog(target.home, "ft:tiny:red:whole:1", "1", project="red")
    in_catalog(target.home, "ft:whole:red::2", "1", project="red", base="ft:tiny:red:whole:1@1", is_adapter=True)
    with pytest.raises(Conflict, match="ft:whole:red::2"):
        target.run(target.control.models.delete("red", "ft:tiny:red:whole:1"))
    target.run(target.control.models.delete("red", "ft:whole:red::2"))
    target.run(target.control.models.delete("red", "ft:tiny:red:whole:1"))


def test_what_is_shared_is_used_and_not_deleted(target: GovernedTarget) -> None:
    blue, directory = client(target, "blue"), target.control.directory
    shares = {CHECKPOINT: frozenset({"blue"})}
    directory.snapshot = msgspec.structs.replace(directory.snapshot, shares=shares)
    assert {each.id for each in blue.models.list()} == {CHECKPOINT}
    assert ask(blue, CHECKPOINT).choices
    assert ask(blue, f"{CHECKPOINT}@1").choices
    with pytest.raises(NotFoundError):
        ask(blue, MODEL)
    snapshot = directory.snapshot
    assert [each.name for each in target.control.models.usable(snapshot, "blue")] == [CHECKPOINT, "tiny"]
    for error, name in ((Forbidden, "tiny"), (ModelNotFound, MODEL)):
        with pytest.raises(error):
            target.run(target.control.models.delete("blue", name))
    directory.snapshot = msgspec.structs.replace(directory.snapshot, shares={})
    with pytest.raises(NotFoundError):
        ask(blue, CHECKPOINT)
