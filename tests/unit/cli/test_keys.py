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
