"""Projects, deployments, policies, blocklists, quotas and the keys of projects at the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mainspring.store import tables
from mainspring.store.db import Database
from tests.contract.target import in_catalog
from tests.unit.cli.conftest import Run

OLD, NEW = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.fixture
def run(ms: Run, home: Path) -> Run:
    """In a home with two versions of a model and a project."""
    in_catalog(home, "tiny", OLD, created=1)
    in_catalog(home, "tiny", NEW, created=2)
    assert ms("projects", "create", "Lab", "--group", "rg", "--tag", "team=red").code == 0
    return ms


def said(run: Run, *arguments: str) -> Any:
    ran = run(*arguments, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_the_life_of_a_project(run: Run) -> None:
    assert {each["name"] for each in said(run, "projects", "list")} == {"default", "lab"}
    shown = said(run, "projects", "show", "lab")
    assert (shown["resource_group"], shown["tags"], shown["deployments"]) == ("rg", {"team": "red"}, [])
    assert "rg" in run("projects", "list").out
    assert "deployments: none" in run("projects", "show", "lab").out
    assert run("projects", "create", "lab").code == 2
    assert run("projects", "limit", "lab", "tokens_per_day=5", "cost_per_day=1.5").out == (
        "lab: tokens_per_day=5, cost_per_day=1.5\n"
    )
    assert said(run, "projects", "show", "lab")["limits"] == {"tokens_per_day": 5, "cost_per_day": 1_500_000}
    assert said(run, "projects", "show", "lab")["tags"] == {"team": "red"}
    assert run("projects", "limit", "lab").out == "lab: no limits\n"
    assert run("projects", "delete", "lab").out == "deleted lab\n"
    assert run("projects", "delete", "lab").code == 2
    for arguments in (("delete", "default"), ("show", "lab"), ("keys", "lab"), ("limit", "lab"), ("create", "a_b"),
                      ("create", "x", "--tag", "y")):  # fmt: skip
        assert run("projects", *arguments).code == 2


def test_keys_of_a_project(run: Run) -> None:
    before = said(run, "projects", "keys", "lab")
    assert run("projects", "keys", "lab").out == f"key1: {before['key1']}\nkey2: {before['key2']}\n"
    after = said(run, "projects", "keys", "lab", "--regenerate", "key2")
    assert after["key1"] == before["key1"]
    assert after["key2"] != before["key2"]
    made = said(run, "keys", "create", "robot", "--project", "LAB", "--owner", "eve", "--deployment", "mine")
    assert (made["project"], made["owner"], made["deployments"]) == ("lab", "eve", ["mine"])
    assert "lab" in run("keys", "list").out
    assert run("keys", "create", "other", "--project", "absent").code == 2


def test_the_life_of_a_deployment(run: Run) -> None:
    lab = ("--project", "lab")
    made = said(run, "deployments", "create", "mine", *lab, "--model", "tiny", "--capacity", "5")
    assert (made["version"], made["sku"], made["capacity"], made["state"]) == (NEW, "Standard", 5, "Running")
    assert run("deployments", "create", "mine", *lab, "--model", "tiny").code == 2
    changed = said(run, "deployments", "update", "mine", *lab, "--version", OLD, "--upgrade", "NoAutoUpgrade",
                   "--dynamic", "--policy", "Microsoft.Default")  # fmt: skip
    assert (changed["version"], changed["capacity"], changed["dynamic"]) == (OLD, 5, True)
    assert (changed["upgrade"], changed["policy"]) == ("NoAutoUpgrade", "Microsoft.Default")
    assert said(run, "deployments", "update", "mine", *lab, "--policy", "", "--fixed")["policy"] == ""
    assert said(run, "deployments", "update", "mine", *lab, "--model", "tiny")["version"] == NEW
    assert said(run, "deployments", "pause", "mine", *lab)["state"] == "Paused"
    assert "state: Paused" in run("deployments", "show", "mine", *lab).out
    assert said(run, "deployments", "resume", "mine", *lab)["state"] == "Running"
    spills = ("--model", f"tiny@{OLD}", "--sku", "ProvisionedManaged", "--spillover", "mine")
    assert said(run, "deployments", "create", "big", *lab, *spills)["version"] == OLD
    assert [each["name"] for each in said(run, "deployments", "list")] == ["big", "mine"]
    assert said(run, "deployments", "list", "--project", "default") == []
    assert "tiny@" in run("deployments", "list", *lab).out
    assert "spills over" in run("deployments", "delete", "mine", *lab).err
    assert run("projects", "delete", "lab").code == 2
    assert run("deployments", "delete", "big", *lab).out == "deleted big\n"
    assert said(run, "deployments", "delete", "mine", *lab)["deleted"]
    assert run("deployments", "delete", "mine", *lab).code == 2
    for arguments in (("create", "x", "--model", "absent"), ("create", "x", "--model", "tiny", "--upgrade", "Never"),
                      ("create", "x", "--model", "tiny", "--sku", "Gold"), ("show", "absent"),
                      ("list", "--project", "absent")):  # fmt: skip
        assert run("deployments", *arguments).code == 2


def test_quotas(run: Run) -> None:
    assert run("quota", "set", "Standard", "tiny", "4").out == "Standard of tiny: 4 units\n"
    refused = run("deployments", "create", "mine", "--model", "tiny", "--capacity", "5")
    assert refused.code == 2
    assert "4 units" in refused.err
    said(run, "deployments", "create", "mine", "--model", "tiny", "--capacity", "3")
    quotas = {each["sku"]: each for each in said(run, "quota", "list")}
    assert quotas["Standard"] == {"sku": "Standard", "model": "tiny", "used": 3, "units": 4}
    assert "Standard" in run("quota", "list").out
    assert run("quota", "set", "Gold", "tiny", "4").code == 2


def test_policies_and_blocklists(run: Run, tmp_path: Path) -> None:
    lab = ("--project", "lab")
    assert run("blocklists", "create", "words", *lab, "--description", "bad").out == "made words\n"
    assert run("blocklists", "add", "words", "one", "wombat", *lab).out == "made words/one\n"
    assert said(run, "blocklists", "add", "words", "one", "x+", "--regex", *lab)["is_new"] is False
    [found] = said(run, "blocklists", "list", *lab)
    assert [(each["pattern"], each["is_regex"]) for each in found["items"]] == [("x+", True)]
    assert "x+" in run("blocklists", "list", *lab).out
    assert run("blocklists", "add", "words", "two", "(", "--regex", *lab).code == 2

    properties = json.loads(run("policies", "show", "Microsoft.DefaultV2").out)
    properties["customBlocklists"] = [{"blocklistName": "words", "source": "Prompt"}]
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(properties))
    assert run("policies", "set", "strict", str(file), *lab).out == "made strict\n"
    whole = run("policies", "show", "strict", "--json", *lab).out
    assert run("policies", "set", "strict", "-", *lab, piped=whole).out == "changed strict\n"
    assert {each["name"] for each in said(run, "policies", "list", *lab)} >= {"strict", "Microsoft.Default"}
    assert "strict" in run("policies", "list", *lab).out
    assert "strict" not in run("policies", "list").out
    assert run("blocklists", "delete", "words", *lab).code == 2
    assert run("policies", "delete", "strict", *lab).out == "deleted strict\n"
    assert run("blocklists", "remove", "words", "one", *lab).out == "deleted words/one\n"
    assert said(run, "blocklists", "delete", "words", *lab)["deleted"]
    file.write_text("[]")
    for arguments in (("policies", "delete", "strict"), ("policies", "show", "strict"),
                      ("policies", "set", "x", str(file)), ("blocklists", "delete", "words"),
                      ("blocklists", "remove", "words", "one")):  # fmt: skip
        assert run(*arguments, *lab).code == 2
    assert run("policies", "set", "x", str(tmp_path / "absent"), *lab).code == 2


def test_a_request_is_explained(run: Run, home: Path) -> None:
    hits = [{"category": "custom_blocklists", "matched": "wombat", "blocklist": "words", "blocking": True}]
    row = {
        "id": "chatcmpl-0123456789abcdef", "started": 1.0, "minute": 0, "key": "key_1", "deployment": "mine",
        "version": OLD, "operation": "chat", "tier": "default", "outcome": "content_filter", "prompt": 3, "cached": 0,
        "completion": 0, "cost": 0, "first_ms": 0.0, "total_ms": 1.0, "filtered": "prompt", "hits": json.dumps(hits),
    }  # fmt: skip

    async def write() -> None:
        database = await Database.open(home)
        async with database.write() as connection:
            await connection.execute(sa.insert(tables.requests).values(row))
        await database.close()

    asyncio.run(write())
    for name in ("chatcmpl-0123456789abcdef", "0123456789abcdef"):
        [record] = said(run, "policies", "explain", name)
        assert record["hits"] == hits
    shown = run("policies", "explain", "0123456789abcdef").out
    assert "the prompt was blocked" in shown
    assert "wombat" in shown
    assert run("policies", "explain", "0123456789%").code == 2


def test_the_audit_log_has_all_of_it(run: Run) -> None:
    said(run, "deployments", "create", "mine", "--model", "tiny")
    entries = said(run, "audit", "list")
    assert [each["action"] for each in entries] == ["project.create", "project.create", "deployment.create"]
    assert all(each["actor"].startswith("command line: ") for each in entries)
    assert said(run, "audit", "verify")["good"]


def test_an_index_of_protected_material(ms: Run, tmp_path: Path) -> None:
    from mainspring.governance.filters.protected import Index

    text = " ".join(f"word{number}" for number in range(200))
    folder, out = tmp_path / "ours", tmp_path / "ours.index"
    folder.mkdir()
    (folder / "tale.txt").write_text(text)
    assert said(ms, "policies", "index", str(folder), "--out", str(out), "--url", "https://x.org")["files"] == 1
    [copy] = Index(out).find(text[300:900], "text")
    assert copy.citation.url == "https://x.org/tale.txt"
    assert ms("policies", "index", str(tmp_path / "none"), "--out", str(out)).code == 2
    (tmp_path / "empty").mkdir()
    assert "no text or code" in ms("policies", "index", str(tmp_path / "empty"), "--out", str(out)).err


def test_a_model_is_deployed_in_one_step(run: Run, home: Path) -> None:
    tuned = "ft:tiny:lab:mine:a1b2c3"
    in_catalog(home, tuned, OLD, project="lab", is_adapter=True, base=f"tiny@{NEW}")
    made = said(run, "deploy", tuned, "--sku", "DeveloperTier")
    assert (made["project"], made["name"], made["model"], made["version"]) == (
        "lab",
        "tiny-lab-mine-a1b2c3",
        tuned,
        OLD,
    )
    assert made["expires"] == pytest.approx(made["created"] + 86_400)
    again = said(run, "deploy", tuned, "--capacity", "3")
    assert (again["sku"], again["capacity"], again["expires"]) == ("DeveloperTier", 3, made["expires"])
    assert said(run, "deploy", f"tiny@{OLD}", "--name", "old")["version"] == OLD
    assert said(run, "deploy", "tiny")["project"] == "default"
    for arguments, says in (
        (("deploy", "tiny", "--project", "lab", "--name", "tiny-lab-mine-a1b2c3"), "another --name"),
        (("deploy", tuned, "--project", "default"), "is not in the catalog"),
        (("deployments", "create", "x", "--model", tuned), "is not in the catalog"),
        (("deploy", "absent"), "is not in the catalog"),
    ):
        ran = run(*arguments)
        assert ran.code == 2
        assert says in ran.err
