"""Projects, their keys and their deployments, on both databases."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from mainspring.core.errors import Conflict, InvalidRequest, MainspringError, ModelNotFound, NotFound, Unauthorized
from mainspring.core.types import Limits
from mainspring.governance.keys import CACHE_S
from mainspring.governance.secret import installation_secret
from mainspring.governance.wanted import DEVELOPER_S, Deployment
from tests.unit.governance.wanting import UNITS, World


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    made = await World.open(tmp_path, database_url)
    yield made
    await made.check_integrity()
    await made.database.close()


def wanted(project: str = "lab", name: str = "mine", **fields: Any) -> Deployment:
    return Deployment(**{"project": project, "name": name, "model": "tiny", "version": "", **fields})


async def test_a_project_is_made_changed_and_deleted(world: World) -> None:
    made, is_new = await world.projects.put(
        "Lab", resource_group="rg", tags={"a": "b"}, limits=Limits(tokens_per_day=5)
    )
    assert (made.name, made.location, is_new) == ("lab", "local", True)
    world.clock.advance(5)
    changed, is_new = await world.projects.put("lab", resource_group="RG", location="moon")
    assert (changed.location, changed.tags, changed.limits.tokens_per_day, is_new) == ("moon", {"a": "b"}, 5, False)
    assert changed.updated == changed.created + 5
    same, _ = await world.projects.put("lab", resource_group="rg", tags={})
    assert (same.location, same.tags) == ("moon", {})  # what is not said stays as it is
    with pytest.raises(Conflict, match="resource group 'rg'"):
        await world.projects.put("lab", resource_group="other")
    assert await world.projects.remove("LAB")
    assert not await world.projects.remove("lab")
    with pytest.raises(NotFound):
        await world.projects.get("lab")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a_b"}, {"name": "-a"}, {"name": "a" * 65}, {"name": "a/b"}, {"name": "lab\n"},
        {"resource_group": "a b"}, {"location": "x" * 65}, {"location": ""}, {"tags": {"a" * 513: ""}},
        {"tags": {"a": "b" * 257}}, {"tags": {str(n): "" for n in range(51)}}, {"limits": Limits(tokens_per_day=-1)},
    ],
    ids=str,
)  # fmt: skip
async def test_refused_projects(world: World, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await world.projects.put(**{"name": "lab", **wrong})
    assert not (await world.projects.snapshot()).projects


async def test_two_keys_of_which_one_is_replaced(world: World) -> None:
    await world.projects.put("lab")
    key1, key2 = await world.projects.keys("lab")
    for key in (key1, key2):
        assert (await world.keys.authenticate(key)).project == "lab"
    new1, same2 = await world.projects.regenerate("lab", "key1")
    assert (new1 != key1, same2) == (True, key2)
    with pytest.raises(Unauthorized):
        await world.keys.authenticate(key1)
    for key in (new1, key2):
        assert (await world.keys.authenticate(key)).project == "lab"
    assert await world.projects.keys("lab") == (new1, key2)
    _, new2 = await world.projects.regenerate("lab", "key2")
    assert new2 not in (key1, key2, new1)


async def test_a_key_that_is_used_while_it_is_replaced_is_not_remembered(world: World, monkeypatch) -> None:
    await world.projects.put("lab")
    key1, _ = await world.projects.keys("lab")
    await world.keys.authenticate(key1)  # so that its use need not be noted in the middle of the other transaction
    end = world.keys._end

    async def used_meanwhile(*given: Any) -> None:
        await end(*given)
        await world.keys.authenticate(key1)  # in a transaction of its own, the key is still good

    monkeypatch.setattr(world.keys, "_end", used_meanwhile)
    await world.projects.regenerate("lab", "key1")
    with pytest.raises(Unauthorized):
        await world.keys.authenticate(key1)


async def test_who_comes_after_has_other_keys(world: World) -> None:
    await world.projects.put("lab")
    before = await world.projects.keys("lab")
    await world.projects.remove("lab")
    world.clock.advance(0.001)
    await world.projects.put("lab")
    assert not {*before} & {*await world.projects.keys("lab")}
    for key in before:
        with pytest.raises(Unauthorized):
            await world.keys.authenticate(key)


async def test_the_keys_of_a_deleted_project_end_elsewhere_too(world: World) -> None:
    await world.projects.put("lab")
    _, made = await world.keys.create("robot", project="lab")
    other = World(world.database, world.clock)
    await other.keys.authenticate(made)
    await world.projects.remove("lab")
    world.clock.advance(CACHE_S + 0.1)
    with pytest.raises(Unauthorized):
        await other.keys.authenticate(made)


async def test_the_default_project_stays(world: World) -> None:
    await world.projects.ensure_default()
    await world.projects.ensure_default()
    with pytest.raises(Conflict):
        await world.projects.remove("default")


async def test_why_a_name_cannot_be_had(world: World) -> None:
    await world.projects.put("lab")
    assert await world.projects.why_not("free") is None
    assert "already" in (await world.projects.why_not("LAB") or "")
    assert "letters" in (await world.projects.why_not("a_b") or "")


async def test_a_deployment_is_made_changed_and_deleted(world: World) -> None:
    await world.projects.put("lab")
    made, is_new = await world.projects.deploy(wanted("Lab"))
    assert (made.project, made.version, is_new) == ("lab", "new", True)
    assert made.limits == Limits(tokens_per_minute=1000, requests_per_minute=6)
    world.clock.advance(1)
    moved, is_new = await world.projects.deploy(wanted(version="old", capacity=3, state="Paused"))
    assert (moved.version, moved.capacity, moved.state, is_new) == ("old", 3, "Paused", False)
    assert (moved.created, moved.updated) == (made.created, made.created + 1)
    assert await world.projects.deployment("LAB", "mine") == moved
    with pytest.raises(Conflict, match="mine"):
        await world.projects.remove("lab")
    assert await world.projects.undeploy("Lab", "mine")
    assert not await world.projects.undeploy("lab", "mine")
    with pytest.raises(NotFound):
        await world.projects.deployment("lab", "mine")


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"name": "a b"}, InvalidRequest, "name"),
        ({"name": ""}, InvalidRequest, "name"),
        ({"sku": "Gold"}, InvalidRequest, "sku"),
        ({"capacity": 0}, InvalidRequest, "capacity"),
        ({"capacity": 10**9}, InvalidRequest, "capacity"),
        ({"policy": "absent"}, InvalidRequest, "policy"),
        ({"spillover": "other"}, InvalidRequest, "spillover"),  # it is not provisioned
        ({"sku": "ProvisionedManaged", "spillover": "absent"}, InvalidRequest, "spillover"),
        ({"sku": "ProvisionedManaged", "spillover": "mine"}, InvalidRequest, "spillover"),
        ({"sku": "ProvisionedManaged", "spillover": "batch"}, InvalidRequest, "spillover"),
        ({"model": "absent"}, ModelNotFound, None),
        ({"version": "absent"}, ModelNotFound, None),
        ({"project": "absent"}, NotFound, None),
        ({"capacity": UNITS + 1}, Conflict, None),
    ],
)  # fmt: skip
async def test_refused_deployments(world: World, fields: dict[str, Any], error: Any, param: str | None) -> None:
    await world.projects.put("lab")
    await world.projects.deploy(wanted(name="other", sku="GlobalStandard"))
    await world.projects.deploy(wanted(name="batch", sku="GlobalBatch"))
    before = (await world.projects.snapshot()).revision
    with pytest.raises(error) as caught:
        await world.projects.deploy(wanted(**fields))
    assert param is None or caught.value.param == param
    assert (await world.projects.snapshot()).revision == before


async def test_the_quota_is_all_projects_together(world: World) -> None:
    for name in ("lab", "shop"):
        await world.projects.put(name)
    await world.projects.deploy(wanted("lab", capacity=60))
    with pytest.raises(Conflict) as caught:
        await world.projects.deploy(wanted("shop", capacity=41))
    assert caught.value.code == "InsufficientQuota"
    await world.projects.deploy(wanted("shop", capacity=40))
    await world.projects.deploy(wanted("lab", name="other", sku="GlobalStandard", capacity=100))  # has its own
    with pytest.raises(Conflict):
        await world.projects.deploy(wanted("lab", capacity=61))
    await world.projects.set_capacity("Standard", "tiny", 10)
    snapshot = await world.projects.snapshot()
    assert world.projects.room(snapshot, "Standard", "tiny") == (100, 10)
    paused, _ = await world.projects.deploy(wanted("lab", capacity=60, state="Paused"))  # what is there may stay
    assert paused.state == "Paused"
    await world.projects.deploy(wanted("lab", capacity=50))
    with pytest.raises(Conflict):
        await world.projects.deploy(wanted("lab", capacity=51))
    for sku, units in (("Gold", 1), ("Standard", -1), ("Standard", 10**7)):
        with pytest.raises(InvalidRequest):
            await world.projects.set_capacity(sku, "tiny", units)


async def test_two_who_want_the_last_units_at_once(world: World) -> None:
    await world.projects.put("lab")
    names = [f"d{number}" for number in range(6)]
    done = await asyncio.gather(
        *(world.projects.deploy(wanted(name=name, capacity=30)) for name in names), return_exceptions=True
    )
    assert sum(isinstance(each, Conflict) for each in done) == 3
    assert (await world.projects.snapshot()).used("Standard", "tiny") == 90


async def test_what_takes_the_spillover_of_others_stays(world: World) -> None:
    await world.projects.put("lab")
    await world.projects.deploy(wanted(name="other"))
    await world.projects.deploy(wanted(sku="ProvisionedManaged", spillover="other"))
    with pytest.raises(Conflict, match="mine"):
        await world.projects.undeploy("lab", "other")
    with pytest.raises(Conflict, match="standard"):
        await world.projects.deploy(wanted(name="other", sku="DeveloperTier"))
    await world.projects.deploy(wanted(sku="ProvisionedManaged"))
    assert await world.projects.undeploy("lab", "other")


async def test_the_developer_tier_s_day_starts_when_it_is_entered(world: World) -> None:
    await world.projects.put("lab")
    first, _ = await world.projects.deploy(wanted())
    assert first.expires is None
    world.clock.advance(10 * DEVELOPER_S)
    entered, _ = await world.projects.deploy(wanted(sku="DeveloperTier"))
    assert entered.expires == world.clock.now() + DEVELOPER_S
    world.clock.advance(5)
    resized, _ = await world.projects.deploy(wanted(sku="DeveloperTier", capacity=2))
    assert resized.expires == entered.expires  # it cannot be put off
    left, _ = await world.projects.deploy(wanted())
    assert left.expires is None


async def test_upkeep_acts_only_on_what_was_seen(world: World) -> None:
    await world.projects.put("lab")
    seen, _ = await world.projects.deploy(wanted(version="old"))
    world.clock.advance(1)
    paused, _ = await world.projects.deploy(msgspec.structs.replace(seen, state="Paused"))
    assert not await world.projects.upkeep(seen, "new")
    assert not await world.projects.upkeep(seen, None)
    assert await world.projects.deployment("lab", "mine") == paused
    assert await world.projects.upkeep(paused, "new")
    moved = await world.projects.deployment("lab", "mine")
    assert (moved.version, moved.state) == ("new", "Paused")
    assert await world.projects.upkeep(moved, None)
    assert not await world.projects.upkeep(moved, "new")  # what was deleted is not made again
    assert not (await world.projects.snapshot()).deployments


async def test_changes_are_told_and_written_down(world: World) -> None:
    await world.projects.by("bob").put("lab")
    await world.projects.deploy(wanted())
    assert world.changes == 2
    entries = await world.audit.list(newest=10)
    assert [(each.actor, each.action, each.subject) for each in entries] == [
        ("bob", "project.create", "lab"), ("eve", "deployment.create", "lab/mine")
    ]  # fmt: skip
    key1, _ = await world.projects.keys("lab")
    assert not any(key1[3:20] in each.detail for each in entries)


def test_the_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = installation_secret(tmp_path)
    assert installation_secret(tmp_path) == first
    assert len(first) == 64
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert installation_secret(tmp_path, "said") == b"said"
    with pytest.raises(MainspringError):
        installation_secret(tmp_path / "absent")


NAMES, DEPLOYED = st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z"])
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("regenerate"), NAMES, st.sampled_from(["key1", "key2"])),
    st.tuples(st.just("undeploy"), NAMES, DEPLOYED),
    st.tuples(
        st.just("deploy"), NAMES, DEPLOYED, st.sampled_from(["Standard", "ProvisionedManaged", "DeveloperTier"]),
        st.integers(1, 60), st.sampled_from(["", "x", "y"]), st.sampled_from(["", "words"]),
    ),
    st.tuples(st.just("put_list"), NAMES),
    st.tuples(st.just("put_items"), NAMES, st.sets(st.sampled_from("pqr"), min_size=1)),
    st.tuples(st.just("remove_items"), NAMES, st.sets(st.sampled_from("pqr"))),
    st.tuples(st.just("remove_list"), NAMES),
    st.tuples(st.just("put_policy"), NAMES, st.booleans()),
    st.tuples(st.just("remove_policy"), NAMES),
)  # fmt: skip


async def _do(world: World, step: tuple[Any, ...]) -> None:
    kind, project, *rest = step
    match kind:
        case "deploy":
            name, sku, capacity, spillover, policy = rest
            await world.projects.deploy(
                wanted(project, name, sku=sku, capacity=capacity, spillover=spillover, policy=policy)
            )
        case "put" | "remove" | "regenerate" | "undeploy":
            await getattr(world.projects, kind)(project, *rest)
        case "put_list" | "remove_list":
            await getattr(world.policies, kind)(project, "list")
        case "put_items":
            await world.policies.put_items(project, "list", {name: (name, False) for name in rest[0]})
        case "remove_items":
            await world.policies.remove_items(project, "list", rest[0])
        case "put_policy":
            use = {"promptBlocklists": [{"blocklistName": "list"}]} if rest[0] else {}
            await world.policies.put(project, "words", use)
        case "remove_policy":
            await world.policies.remove(project, "words")


@hypothesis.settings(max_examples=20, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(steps=st.lists(STEPS, max_size=25))
def test_whatever_is_done_it_stays_sound(steps: list[tuple[Any, ...]]) -> None:
    """Each change is a revision and an entry of the log; what is refused changes nothing; nothing is left over."""

    async def run(home: Path) -> None:
        world = await World.open(home, "")
        secrets: set[str] = set()
        for step in steps:
            before, log = await world.projects.snapshot(), await world.audit.verify()
            failed = None
            try:
                await _do(world, step)
            except MainspringError as error:
                failed = error
            after, now = await world.projects.snapshot(), await world.audit.verify()
            assert after.revision - before.revision == now.num_entries - log.num_entries
            if failed is not None:
                assert after == before
            elif msgspec.structs.replace(after, revision=before.revision) != before:
                assert after.revision > before.revision
            for made in set(after.projects) - set(before.projects):
                keys = set(await world.projects.keys(made))
                assert not keys & secrets  # not even of the project that had this name before
                secrets |= keys
            await world.check_integrity()
            world.clock.advance(0.001)
        await world.database.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
