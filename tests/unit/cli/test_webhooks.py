"""`mainspring webhooks`, against the real edge."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.core.config import WebhookSettings
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_webhooks import Receiver, happens, receiving
from tests.unit.cli.conftest import Run


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GovernedTarget]:
    allowed = WebhookSettings(allow_http=True, allow_networks=("127.0.0.0/8",))  # type: ignore[call-arg]
    with governed(tmp_path_factory.mktemp("server"), webhooks=allowed) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture(autouse=True)
def served(target: GovernedTarget, home: Path) -> None:
    """A data directory whose server runs."""
    home.mkdir()
    (home / "server.json").write_text(json.dumps({"base_url": target.base_url, "pid": 1}))
    (home / "admin.key").write_text(f"{target.key}\n")


def test_from_its_creation_to_its_end(ms: Run, target: GovernedTarget, receiver: Receiver) -> None:
    ran = ms("webhooks", "create", receiver.url, "--event", "batch.completed", "--name", "mine")
    endpoint, secret = ran.out.split()
    assert endpoint.startswith("whe_")
    [row] = [line for line in ms("webhooks", "list").out.splitlines() if endpoint in line]
    assert row.split()[1:] == ["mine", receiver.url, "batch.completed", "yes"]
    assert secret not in ms("webhooks", "list", "--json").out
    assert ms("webhooks", "test", endpoint).out == "200\n"
    headers, body = receiver.next()
    target.sdk("openai").webhooks.verify_signature(body, headers, secret=secret)
    assert ms("webhooks", "rotate", endpoint, "--keep-old").out.split()[1] != secret
    assert ms("webhooks", "update", endpoint, "--disable").out == f"{endpoint} is changed.\n"
    assert json.loads(ms("webhooks", "list", "--json").out)[0]["enabled"] is False
    assert ms("webhooks", "delete", endpoint).out == f"{endpoint} is deleted.\n"
    assert ms("webhooks", "delete", endpoint).code == 2


def test_deliveries_and_replays(ms: Run, target: GovernedTarget, receiver: Receiver) -> None:
    endpoint = json.loads(ms("webhooks", "create", receiver.url, "--json").out)["id"]
    began = str(int(time.time()))
    happens(target, "batch.completed", "batch_1")
    first = receiver.next()[0]["webhook-id"]
    assert first in ms("webhooks", "deliveries", endpoint).out
    assert ms("webhooks", "replay", endpoint, first).out == f"{first} is pending.\n"
    assert receiver.next()[0]["webhook-id"] == first
    assert ms("webhooks", "replay", endpoint, "--since", began).out == "1 events are told again.\n"
    assert receiver.next()[0]["webhook-id"] == first
    assert json.loads(ms("webhooks", "deliveries", endpoint, "--status", "failed", "--json").out) == []
    ms("webhooks", "delete", endpoint)


def test_what_is_refused_is_said_in_a_sentence(ms: Run, receiver: Receiver) -> None:
    assert "batch.completed" in ms("webhooks", "events").out.split()
    assert "Invalid 'url'" in ms("webhooks", "create", "ftp://example.com").err
    endpoint = ms("webhooks", "create", receiver.url).out.split()[0]
    for arguments, said in (
        (("update", endpoint), "Nothing is to change"),
        (("replay", endpoint), "Name one delivery, or a time"),
        (("replay", endpoint, "wh_1"), "No such webhook delivery"),
        (("deliveries", "whe_nothing"), "No such webhook endpoint"),
    ):
        ran = ms("webhooks", *arguments)
        assert ran.code == 2
        assert said in ran.err
    receiver.statuses = [500]
    ran = ms("webhooks", "test", endpoint)
    assert (ran.code, ran.out) == (1, "500\n")
    ms("webhooks", "delete", endpoint)
