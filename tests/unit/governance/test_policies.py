"""Content policies and blocklists, on both databases: what is kept of them. What they do is tested with the filters."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.core.errors import Conflict, InvalidRequest, NotFound
from mainspring.governance.wanted import Deployment
from tests.unit.governance.wanting import World


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    made = await World.open(tmp_path, database_url)
    await made.projects.put("lab")
    await made.projects.put("shop")
    yield made
    await made.check_integrity()
    await made.database.close()


def uses(*names: str) -> dict[str, Any]:
    return {"customBlocklists": [{"blocklistName": name, "source": "Completion"} for name in names]}


async def test_a_policy_is_made_replaced_and_deleted(world: World) -> None:
    filters = [{"name": "Hate", "source": "Prompt", "severityThreshold": "Low"}]
    made, is_new = await world.policies.put("lab", "strict", {"contentFilters": filters, "basePolicyName": None})
    assert is_new
    assert made.properties["contentFilters"] == [
        {"name": "Hate", "enabled": True, "blocking": True, "source": "Prompt", "severityThreshold": "Low"}
    ]
    replaced, is_new = await world.policies.put("lab", "strict", {"mode": "Asynchronous_filter"})
    assert (replaced.properties["mode"], replaced.properties["contentFilters"], is_new) == (
        "Asynchronous_filter", [], False
    )  # fmt: skip
    snapshot = await world.policies.snapshot()
    assert list(snapshot.policies) == [("lab", "strict")]  # and not in the other project
    assert snapshot.policies["lab", "strict"] == replaced
    assert not await world.policies.remove("shop", "strict")
    assert await world.policies.remove("lab", "strict")
    assert not await world.policies.remove("lab", "strict")


@pytest.mark.parametrize(
    ("name", "properties", "error"),
    [
        ("Microsoft.Default", {}, InvalidRequest),
        ("a b", {}, InvalidRequest),
        ("", {}, InvalidRequest),
        ("é", {}, InvalidRequest),
        ("p", {"basePolicyName": "absent"}, InvalidRequest),
        ("p", {"mode": "Fast"}, InvalidRequest),
        ("p", {"contentFilters": [{"name": "Hate", "source": "Nowhere"}]}, InvalidRequest),
        ("p", uses("absent"), InvalidRequest),
        ("p", uses("of-the-shop"), InvalidRequest),
    ],
)
async def test_refused_policies(world: World, name: str, properties: dict[str, Any], error: Any) -> None:
    await world.policies.put_list("shop", "of-the-shop")
    with pytest.raises(error):
        await world.policies.put("lab", name, properties)
    with pytest.raises(NotFound):
        await world.policies.put("absent", "p", {})
    assert not (await world.policies.snapshot()).policies


async def test_what_is_used_stays(world: World) -> None:
    await world.policies.put_list("lab", "words")
    await world.policies.put("lab", "base", uses("words"))
    await world.policies.put("lab", "strict", {"basePolicyName": "base"})
    await world.projects.deploy(Deployment(project="lab", name="mine", model="tiny", version="", policy="strict"))
    for remove in (
        world.policies.remove("lab", "strict"),
        world.policies.remove("lab", "base"),
        world.policies.remove_list("lab", "words"),
    ):
        with pytest.raises(Conflict):
            await remove
    await world.projects.undeploy("lab", "mine")
    assert await world.policies.remove("lab", "strict")
    assert await world.policies.remove("lab", "base")
    assert await world.policies.remove_list("lab", "words")


async def test_a_project_takes_its_policies_with_it(world: World) -> None:
    await world.policies.put_list("lab", "words")
    await world.policies.put_items("lab", "words", {"one": ("wombat", False)})
    await world.policies.put("lab", "strict", uses("words"))
    assert await world.projects.remove("lab")
    snapshot = await world.policies.snapshot()
    assert (snapshot.policies, snapshot.blocklists, snapshot.items) == ({}, {}, {})


async def test_items_are_written_replaced_and_deleted(world: World) -> None:
    made, is_new = await world.policies.put_list("lab", "words", "not here")
    assert (made.description, is_new) == ("not here", True)
    assert await world.policies.put_items("lab", "words", {"b": ("wombat", False), "a": ("x+", True)}) == {"a", "b"}
    assert await world.policies.put_items("lab", "words", {"b": ("koala", False), "c": ("emu", False)}) == {"c"}
    items = (await world.policies.snapshot()).items["lab", "words"]
    assert [(each.name, each.pattern, each.is_regex) for each in items] == [
        ("a", "x+", True), ("b", "koala", False), ("c", "emu", False)
    ]  # fmt: skip
    assert await world.policies.remove_items("lab", "words", {"a", "absent"}) == {"a"}
    described, is_new = await world.policies.put_list("lab", "words", "anew")
    assert (described.description, is_new) == ("anew", False)
    assert len((await world.policies.snapshot()).items["lab", "words"]) == 2
    assert await world.policies.remove_list("lab", "words")
    assert not await world.policies.remove_list("lab", "words")


@pytest.mark.parametrize("pattern", [("(", True), ("", False), ("x" * 1001, False), ("(?=a)", True)])
async def test_one_refused_item_and_none_is_written(world: World, pattern: tuple[str, bool]) -> None:
    await world.policies.put_list("lab", "words")
    before = (await world.policies.snapshot()).revision
    with pytest.raises(InvalidRequest):
        await world.policies.put_items("lab", "words", {"good": ("fine", False), "bad": pattern})
    with pytest.raises(NotFound):
        await world.policies.put_items("lab", "absent", {"good": ("fine", False)})
    assert (await world.policies.snapshot()).revision == before


async def test_a_description_has_an_end(world: World) -> None:
    with pytest.raises(InvalidRequest):
        await world.policies.put_list("lab", "words", "x" * 1001)


async def test_a_nul_is_refused_where_only_one_database_would_keep_it(world: World) -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        await world.policies.put_list("lab", "words", "a\0b")
    await world.policies.put_list("lab", "words", "ab")
    with pytest.raises(InvalidRequest, match="NUL"):
        await world.policies.put_items("lab", "words", {"one": ("a\0b", False)})
    assert not (await world.policies.snapshot()).items
