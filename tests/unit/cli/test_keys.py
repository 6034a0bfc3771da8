import json

import pytest

from tests.unit.cli.conftest import Run


def test_from_create_to_revoke(ms: Run) -> None:
    made = ms("keys", "create", "laptop", "--role", "admin", "--expires", "30d")
    secret = made.out.strip()
    assert made.out == f"{secret}\n"  # KEY=$(mainspring keys create laptop)
    assert secret.startswith("ms-")
    assert "cannot be shown again" in made.err

    listed = ms("keys", "list")
    assert "laptop" in listed.out
    assert secret not in listed.out
    [key] = json.loads(ms("keys", "list", "--json").out)
    assert (key["name"], key["role"], key["state"]) == ("laptop", "admin", "active")
    assert key["expires"] - key["created"] == pytest.approx(30 * 86_400)
    assert "hash" not in key

    assert "laptop" in ms("keys", "revoke", key["id"]).out
    [key] = json.loads(ms("keys", "list", "--json").out)
    assert key["state"] == "revoked"
    assert ms("keys", "revoke", "laptop").code == 2


def test_json_holds_the_secret_once(ms: Run) -> None:
    made = json.loads(ms("keys", "create", "robot", "--json").out)
    assert made["key"].startswith(made["prefix"])
    assert made["expires"] is None
    assert json.loads(ms("keys", "revoke", "robot", "--json").out)["state"] == "revoked"


def test_a_name_is_used_once(ms: Run) -> None:
    assert ms("keys", "create", "laptop").code == 0
    ran = ms("keys", "create", "laptop")
    assert ran.code == 2
    assert "choose another name" in ran.err


def test_limits_are_given_shown_and_replaced(ms) -> None:
    wanted = ("--limit", "tokens_per_minute=20000", "--limit", "cost_per_day=1.5")
    made = json.loads(ms("keys", "create", "laptop", *wanted, "--json").out)
    assert made["limits"] == {"tokens_per_minute": 20000, "cost_per_day": 1_500_000}
    assert "tokens_per_minute=20000, cost_per_day=1.5" in ms("keys", "list").out
    changed = ms("keys", "limit", "laptop", "requests_per_minute=60", "tokens_per_month=1e6")
    assert changed.out == "laptop: requests_per_minute=60, tokens_per_month=1000000\n"
    assert ms("keys", "limit", "laptop").out == "laptop: no limits\n"
    for wrong in ("tokens=5", "tokens_per_day", "tokens_per_day=many", "tokens_per_day=-1", "cost_per_day=nan",
                  "cost_per_day=inf", "cost_per_day=1e30"):  # fmt: skip
        refused = ms("keys", "limit", "laptop", wrong)
        assert refused.code == 2
        assert "limit" in refused.err
        assert "Traceback" not in refused.err
    assert ms("keys", "limit", "absent").code == 2


def test_the_audit_log_has_what_was_done_and_by_whom(ms) -> None:
    for command in (("create", "laptop"), ("limit", "laptop", "tokens_per_day=5"), ("revoke", "laptop")):
        ms("keys", *command)
    entries = json.loads(ms("audit", "list", "--json").out)
    assert [each["action"] for each in entries] == ["key.create", "key.limit", "key.revoke"]
    assert entries[1]["detail"]["after"] == {"tokens_per_day": 5}
    assert all(each["actor"].startswith("command line: ") for each in entries)
    assert "key.limit" in ms("audit", "list", "--newest", "2").out
    head = json.loads(ms("audit", "verify", "--json").out)["head"]
    assert head in ms("audit", "verify").out
    assert ms("audit", "verify", "--known", head).code == 0
    other = ms("audit", "verify", "--known", "0" * 64)
    assert other.code == 1
    assert "does not hold that hash" in other.out
