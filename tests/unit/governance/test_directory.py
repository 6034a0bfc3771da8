"""The directory: what requests find, and the loop that makes it what is wanted."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from mainspring.core.errors import DeploymentPaused, ModelNotFound
from mainspring.core.types import Limits, ModelInfo
from mainspring.engine.fake import FakeEngine
from mainspring.governance.directory import Directory, Need, needs, provisioning, upgraded
from mainspring.governance.wanted import DEFAULT, DEVELOPER_S, Deployment, Snapshot
from tests.unit.governance.wanting import World, version


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    made = await World.open(tmp_path, database_url)
    await made.projects.ensure_default()
    await made.projects.put("lab")
    yield made
    await made.check_integrity()
    await made.database.close()


def engine() -> FakeEngine:
    """What runs: every version of the tests' catalog, and `plain`."""
    known = [
        ModelInfo(id=f"tiny@{number}", version=number, created=1, context_length=64, state="idle")
        for number in ("old", "new", "newest")
    ]
    return FakeEngine(("plain",), others=known)


def looking(world: World) -> Directory:
    seen = SimpleNamespace(needs=[], snapshots=[])

    def need(wanted: Mapping[str, Need]) -> None:
        seen.needs.append(dict(wanted))

    made = Directory(
        world.database, world.clock, engine(), versions=lambda name: [v for v in world.models if v.name == name],
        need=need, changed=seen.snapshots.append,
    )  # fmt: skip
    made.seen = seen  # type: ignore[attr-defined]
    return made


def wanted(name: str = "mine", **fields) -> Deployment:
    return Deployment(**{"project": "lab", "name": name, "model": "tiny", "version": "", **fields})


async def test_names_are_a_project_s_own(world: World) -> None:
    directory = looking(world)
    await world.projects.deploy(wanted(version="old"))
    await world.projects.deploy(wanted(name="plain", project=DEFAULT, version="new", policy="Microsoft.Default"))
    await directory.refresh(world.projects)
    target = directory.target("lab", "mine")
    assert (target.model, target.policy, target.limits.tokens_per_minute) == ("tiny@old", "", 1000)
    plain = directory.target(DEFAULT, "plain")
    assert (plain.model, plain.policy) == ("tiny@new", "Microsoft.Default")  # what is deployed hides the model
    assert directory.target(DEFAULT, "tiny@old").model == "tiny@old"
    for project, name in (("lab", "plain"), ("lab", "tiny"), ("absent", "mine")):
        with pytest.raises(ModelNotFound):
            directory.target(project, name)
    assert [each.id for each in directory.list("lab")] == ["mine"]
    assert [each.id for each in directory.list(DEFAULT)] == ["plain"]
    info = directory.find("mine", "lab")
    assert (info.id, info.model, info.version, info.state) == ("mine", "tiny", "old", "idle")
    assert directory.places("mine", "lab") > 0
    assert directory.load("mine", "lab").running == 0


async def test_what_is_paused_is_there_and_answers_nobody(world: World) -> None:
    directory = looking(world)
    await world.projects.deploy(wanted(state="Paused"))
    await directory.refresh(world.projects)
    assert [each.state for each in directory.list("lab")] == ["paused"]
    with pytest.raises(DeploymentPaused):
        directory.target("lab", "mine")
    assert directory.seen.needs[-1] == {}
    await world.projects.deploy(wanted())
    await directory.refresh(world.projects)
    assert directory.target("lab", "mine").model == "tiny@new"


async def test_limits_of_projects(world: World) -> None:
    directory = looking(world)
    await world.projects.put("lab", limits=Limits(tokens_per_day=5))
    await directory.refresh(world.projects)
    assert directory.limits("lab") == Limits(tokens_per_day=5)
    assert directory.limits("absent") == Limits()


async def test_nothing_new_is_not_told_again(world: World) -> None:
    directory = looking(world)
    await directory.refresh(world.projects)
    await directory.refresh(world.projects)
    assert len(directory.seen.snapshots) == 1
    await world.projects.deploy(wanted())
    await directory.refresh(world.projects)
    assert len(directory.seen.snapshots) == 2


async def test_an_older_look_does_not_undo_a_newer_one(world: World) -> None:
    directory = looking(world)
    before = await world.projects.snapshot()
    await world.projects.deploy(wanted())
    await directory.refresh(world.projects)

    async def late() -> Snapshot:
        return before

    directory.snapshot = msgspec.structs.replace(directory.snapshot, revision=directory.snapshot.revision + 1)
    await directory.refresh(SimpleNamespace(snapshot=late))  # type: ignore[arg-type]
    assert ("lab", "mine") in directory.snapshot.deployments


async def test_a_new_version_is_followed_by_those_that_follow(world: World) -> None:
    directory = looking(world)
    await world.projects.deploy(wanted("follows", version="old"))
    await world.projects.deploy(wanted("stays", version="old", upgrade="NoAutoUpgrade"))
    await world.projects.deploy(wanted("provisioned", version="old", sku="ProvisionedManaged"))
    await directory.refresh(world.projects)
    await directory.reconcile(world.projects)
    world.models.insert(0, version("tiny", "newest", 3))
    await directory.reconcile(world.projects)
    now = {each.name: each.version for each in directory.snapshot.of("lab")}
    assert now == {"follows": "newest", "stays": "old", "provisioned": "old"}
    assert (await world.audit.list(newest=1))[0].action == "deployment.upgrade"


async def test_a_pause_in_the_same_moment_is_kept(world: World) -> None:
    directory = looking(world)
    await world.projects.deploy(wanted(version="old"))
    await directory.refresh(world.projects)
    world.clock.advance(1)
    await world.projects.deploy(wanted(version="old", state="Paused"))  # this directory has not seen it yet
    await directory.reconcile(world.projects)
    [found] = directory.snapshot.of("lab")
    assert (found.state, found.version) == ("Paused", "old")
    await directory.reconcile(world.projects)  # the next look moves it, as it is
    [found] = directory.snapshot.of("lab")
    assert (found.state, found.version) == ("Paused", "new")


async def test_what_was_deleted_meanwhile_is_not_made_again(world: World) -> None:
    directory = looking(world)
    await world.projects.deploy(wanted(version="old"))
    await directory.refresh(world.projects)
    await world.projects.undeploy("lab", "mine")
    await directory.reconcile(world.projects)
    assert directory.snapshot.of("lab") == []


async def test_a_lowered_quota_holds_no_upgrade_up(world: World) -> None:
    directory = looking(world)
    await world.projects.deploy(wanted(version="old", capacity=50))
    await world.projects.set_capacity("Standard", "tiny", 1)
    await directory.refresh(world.projects)
    await directory.reconcile(world.projects)
    assert [each.version for each in directory.snapshot.of("lab")] == ["new"]


async def test_the_developer_tier_lives_a_day(world: World) -> None:
    directory = looking(world)
    await world.projects.deploy(wanted(sku="DeveloperTier"))
    await directory.refresh(world.projects)
    world.clock.advance(DEVELOPER_S - 1)
    await directory.reconcile(world.projects)
    assert directory.snapshot.of("lab")
    world.clock.advance(1)
    await directory.reconcile(world.projects)
    assert not directory.snapshot.of("lab")


FOLLOW, EXPIRED, NEVER = "OnceNewDefaultVersionAvailable", "OnceCurrentVersionExpired", "NoAutoUpgrade"


@pytest.mark.parametrize(
    ("sku", "upgrade", "versions", "moves_to"),
    [
        ("Standard", FOLLOW, ["new", "mine"], "new"),
        ("Standard", FOLLOW, ["mine", "old"], None),
        ("Standard", FOLLOW, ["new"], "new"),
        ("Standard", FOLLOW, [], None),
        ("Standard", EXPIRED, ["new", "mine"], None),
        ("Standard", EXPIRED, ["new", "old"], "new"),
        ("Standard", NEVER, ["new"], None),
        ("GlobalBatch", FOLLOW, ["new", "mine"], "new"),
        ("ProvisionedManaged", FOLLOW, ["new", "mine"], None),
        ("ProvisionedManaged", FOLLOW, ["new"], "new"),
        ("ProvisionedManaged", EXPIRED, ["new"], "new"),
        ("ProvisionedManaged", NEVER, ["new"], None),
    ],
)
def test_who_moves_to_which_version(sku: str, upgrade, versions: list[str], moves_to: str | None) -> None:
    assert upgraded(wanted(version="mine", sku=sku, upgrade=upgrade), versions) == moves_to


@pytest.mark.parametrize(
    ("sku", "paused", "state", "said"),
    [
        ("Standard", False, "idle", "Succeeded"),
        ("Standard", False, "starting", "Succeeded"),
        ("Standard", False, "failed", "Failed"),
        ("ProvisionedManaged", False, "ready", "Succeeded"),
        ("ProvisionedManaged", False, "idle", "Creating"),
        ("ProvisionedManaged", False, "starting", "Creating"),
        ("ProvisionedManaged", False, "restarting", "Creating"),
        ("ProvisionedManaged", False, "failed", "Failed"),
        ("ProvisionedManaged", True, "idle", "Succeeded"),  # nothing is loaded for it: nobody need wait
    ],
)
def test_how_far_a_deployment_is(sku: str, paused: bool, state: str, said: str) -> None:
    assert provisioning(wanted(sku=sku, state="Paused" if paused else "Running"), state) == said


def test_what_models_are_needed_for() -> None:
    deployments = [
        wanted("a", version="v", capacity=2),
        wanted("b", version="v", capacity=3, sku="ProvisionedManaged"),
        wanted("c", version="v", capacity=50, state="Paused"),
        wanted("d", version="w", capacity=5),
    ]
    snapshot = Snapshot(deployments={(each.project, each.name): each for each in deployments})
    assert needs(snapshot) == {"tiny@v": Need(3, 5), "tiny@w": Need(0, 5)}
