"""Webhooks with both official packages over real sockets: endpoints through `client.webhooks` in every dialect, events
of real fine-tuning jobs that arrive signed, what was delivered and once more."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import openai
import pytest

from mainspring.core.config import WebhookSettings
from mainspring.store.outbox import announce
from mainspring.webhooks.events import EVENT_TYPES
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import DIALECTS, GovernedTarget, governed, in_catalog
from tests.contract.test_fine_tuning import create, until
from tests.contract.test_node import FOLDER, NODE, PACKAGE

WAIT_S = 240


class Receiver:
    """An endpoint on this machine: `arrived` is what was sent to it; `statuses` what it answers, then 200."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status)
                self.end_headers()
                receiver.arrived.put((dict(self.headers.items()), body))

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def next(self) -> tuple[dict[str, str], bytes]:
        return self.arrived.get(timeout=WAIT_S)


@contextlib.contextmanager
def receiving() -> Generator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join(10)


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    home = tmp_path_factory.mktemp("webhooks")
    in_catalog(home, "tiny", "abc")
    allowed = WebhookSettings(allow_http=True, allow_networks=("127.0.0.0/8",))  # type: ignore[call-arg]
    with governed(home, webhooks=allowed) as found:
        yield found


@pytest.fixture
def http(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http() as found:
        yield found


def happens(target: GovernedTarget, kind: str, object_id: str, project: str = "default") -> None:
    async def write() -> None:
        hooks = target.services.webhooks
        assert hooks is not None
        async with hooks.database.write() as connection:
            await announce(connection, project=project, type=kind, object=object_id, now_s=time.time())

    target.run(write())


def deliveries(http: httpx.Client, endpoint: str, **query: str) -> list[dict[str, Any]]:
    return http.get(f"/v1/x/webhook_endpoints/{endpoint}/deliveries", params=query).json()["data"]


def settled(http: httpx.Client, endpoint: str) -> list[dict[str, Any]]:
    """Deliveries once none is on its way: an endpoint has a request before we know what it made of it."""
    deadline = time.monotonic() + WAIT_S
    while any(one["duration_s"] is None for each in deliveries(http, endpoint) for one in each["attempts"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return deliveries(http, endpoint)


def test_endpoints_are_made_changed_and_deleted(target: GovernedTarget, dialect: str, receiver: Receiver) -> None:
    hooks = target.sdk(dialect).webhooks
    assert hooks.event_types.list().data == list(EVENT_TYPES)
    made = hooks.create(name="mine", url=receiver.url, event_types=["batch.completed", "response.failed"])
    assert made.signing_secret.startswith("whsec_")
    assert made.signing_secret_hint == f"whsec_...{made.signing_secret[-4:]}"
    assert (made.object, made.name, made.url) == ("webhook_endpoint", "mine", receiver.url)
    found = hooks.retrieve(made.id)
    assert found.to_dict() == {key: value for key, value in made.to_dict().items() if key != "signing_secret"}
    changed = hooks.update(made.id, name="yours", event_types=["eval.run.failed"])
    assert (changed.name, changed.event_types, changed.url) == ("yours", ["eval.run.failed"], receiver.url)
    assert not hooks.update(made.id, extra_body={"enabled": False}).enabled  # type: ignore[attr-defined]
    more = [hooks.create(name=f"{n}", url=receiver.url, event_types=["batch.failed"]).id for n in range(3)]
    listed = [each.id for each in hooks.list(limit=2)]
    assert [each for each in listed if each in (*more, made.id)] == [*more[::-1], made.id]
    assert len(set(listed)) == len(listed)
    for each in (*more, made.id):
        gone = hooks.delete(each)
        assert (gone.id, gone.object, gone.deleted) == (each, "webhook_endpoint.deleted", True)
    for call in (hooks.retrieve, hooks.delete, hooks.update, hooks.rotate_secret):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_a_sample_is_unwrapped_and_a_secret_is_replaced(
    target: GovernedTarget, dialect: str, receiver: Receiver
) -> None:
    client = target.sdk(dialect)
    made = client.webhooks.create(name="n", url=receiver.url, event_types=["batch.completed"])
    result = client.webhooks.test(made.id, event_type="response.completed")
    assert (result.status_code, result.success, result.event_type) == (200, True, "response.completed")
    headers, body = receiver.next()
    event = client.webhooks.unwrap(body, headers, secret=made.signing_secret)
    assert type(event).__name__ == "ResponseCompletedWebhookEvent"
    assert event.data.id.startswith("resp_test")  # type: ignore[union-attr]
    check("WebhookResponseCompleted", json.loads(body))
    for keep_old in (True, False):
        rotated = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=keep_old)
        client.webhooks.test(made.id, event_type="batch.completed")
        headers, body = receiver.next()
        client.webhooks.verify_signature(body, headers, secret=rotated.signing_secret)
        if keep_old:
            client.webhooks.verify_signature(body, headers, secret=made.signing_secret)
        else:
            with pytest.raises(openai.InvalidWebhookSignatureError):
                client.webhooks.verify_signature(body, headers, secret=made.signing_secret)
    receiver.statuses = [404]
    assert client.webhooks.test(made.id, event_type="batch.completed").status_code == 404
    client.webhooks.delete(made.id)


@pytest.fixture(scope="module")
def seen(target: GovernedTarget) -> dict[str, Any]:
    return run([str(NODE), str(FOLDER / "webhooks.mjs")], target)


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
@pytest.mark.parametrize("name", DIALECTS)
def test_webhooks_with_the_npm_package(seen: dict[str, Any], name: str) -> None:
    found = seen[name]
    made = found["made"]
    assert found["types"] == list(EVENT_TYPES)
    assert found["retrieved"] == {key: value for key, value in made.items() if key != "signing_secret"}
    assert found["tested"] == {
        "object": "webhook_endpoint.test", "webhook_endpoint_id": made["id"], "event_type": "fine_tuning.job.failed",
        "status_code": 200, "success": True,
    }  # fmt: skip
    assert found["unwrapped"]["type"] == "fine_tuning.job.failed"
    check("WebhookFineTuningJobFailed", found["unwrapped"])
    assert found["forged"]["kind"] == "InvalidWebhookSignatureError"
    assert found["rotated"]["signing_secret"] != made["signing_secret"]
    assert found["both"] == ["batch.completed"] * 2
    assert (found["updated"]["name"], found["updated"]["event_types"]) == ("renamed", ["batch.failed"])
    assert made["id"] in found["listed"]
    assert found["refused"] == {"kind": "BadRequestError", "status": 400, "param": "url"}
    assert found["deleted"]["deleted"]
    assert found["after"]["kind"] == "NotFoundError"


def test_a_fine_tuning_job_tells_how_it_ended_once(
    target: GovernedTarget, http: httpx.Client, receiver: Receiver
) -> None:
    client = target.sdk("openai")
    kinds = ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
    made = client.webhooks.create(name="n", url=receiver.url, event_types=kinds)  # type: ignore[arg-type]
    wanted: dict[str, str] = {}
    for spell, end in (("", "succeeded"), ("!fail", "failed"), ("!slow 0.2", "cancelled")):
        job = create(client, spell)
        if end == "cancelled":
            until(client, job.id, "running")
            client.fine_tuning.jobs.cancel(job.id)
        assert until(client, job.id)[0].status == end
        wanted[job.id] = f"fine_tuning.job.{end}"
    told: dict[str, str] = {}
    for _ in wanted:
        headers, body = receiver.next()
        event = client.webhooks.unwrap(body, headers, secret=made.signing_secret)
        told[event.data.id] = event.type  # type: ignore[union-attr]
        check(f"WebhookFineTuningJob{event.type.rpartition('.')[2].capitalize()}", json.loads(body))
    assert told == wanted
    assert [each["status"] for each in settled(http, made.id)] == ["delivered"] * 3
    assert receiver.arrived.empty()
    client.webhooks.delete(made.id)


def test_deliveries_are_listed_with_their_attempts_and_replayed(
    target: GovernedTarget, http: httpx.Client, receiver: Receiver
) -> None:
    client, began = target.sdk("openai"), int(time.time())
    made = client.webhooks.create(name="n", url=receiver.url, event_types=["batch.completed"])
    receiver.statuses = [503]
    happens(target, "batch.completed", "batch_1")
    first, _ = receiver.next()
    [found] = settled(http, made.id)
    assert (found["status"], found["event_type"], found["object_id"]) == ("pending", "batch.completed", "batch_1")
    assert found["next_attempt_at"] > time.time()
    [attempt] = found["attempts"]
    assert (attempt["number"], attempt["status_code"], attempt["error"]) == (1, 503, None)
    assert found["id"] == first["webhook-id"]
    folder = f"/v1/x/webhook_endpoints/{made.id}"
    assert http.post(f"{folder}/deliveries/{found['id']}/replay").json()["id"] == found["id"]
    second, _ = receiver.next()
    assert second["webhook-id"] == first["webhook-id"]
    assert [each["status"] for each in settled(http, made.id)] == ["delivered"]
    one = http.get(f"{folder}/deliveries/{found['id']}").json()
    assert [each["status_code"] for each in one["attempts"]] == [503, 200]
    assert deliveries(http, made.id, status="failed") == []
    result = http.post(f"{folder}/replay", json={"since": began}).json()
    assert result == {"object": "webhook_endpoint.replay", "webhook_endpoint_id": made.id, "events": 1}
    assert receiver.next()[0]["webhook-id"] == first["webhook-id"]
    assert http.post(f"{folder}/replay", json={"since": began, "only_undelivered": True}).json()["events"] in (0, 1)
    client.webhooks.delete(made.id)
    assert http.get(f"{folder}/deliveries").status_code == 404


def test_deliveries_paginate(target: GovernedTarget, http: httpx.Client, receiver: Receiver) -> None:
    client = target.sdk("openai")
    made = client.webhooks.create(name="n", url=receiver.url, event_types=["batch.completed"])
    for n in range(5):
        happens(target, "batch.completed", f"batch_{n}")
    seen, query = list[str](), {"limit": "2"}
    while True:
        page = http.get(f"/v1/x/webhook_endpoints/{made.id}/deliveries", params=query).json()
        seen += [each["object_id"] for each in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["last_id"]
    assert seen == [f"batch_{n}" for n in range(4, -1, -1)]
    client.webhooks.delete(made.id)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"url": "https://127.1.2.3.4.5.example.com:99999/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": 5}, "url"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["batch.completed", "video.completed"]}, "event_types[1]"),
        ({"event_types": None}, "event_types"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_is_refused_is_named(http: httpx.Client, changes: dict[str, Any], param: str) -> None:
    body = {"name": "n", "url": "https://example.com/", "event_types": ["batch.completed"], **changes}
    answer = http.post("/v1/webhook_endpoints", json=body)
    assert answer.status_code == 400
    check("ErrorResponse", answer.json())
    assert answer.json()["error"]["param"] == param


def test_an_endpoint_that_is_not_reached_is_said_to_be_so(http: httpx.Client) -> None:
    with receiving() as gone:
        pass
    body = {"name": "n", "url": gone.url, "event_types": ["batch.completed"]}
    made = http.post("/v1/webhook_endpoints", json=body).json()
    answer = http.post(f"/v1/webhook_endpoints/{made['id']}/test", json={"event_type": "batch.failed"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "webhook_not_reached")
    http.delete(f"/v1/webhook_endpoints/{made['id']}")


def test_this_machine_is_not_reached_unless_settings_say_so(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> None:
    """A name that leads here is taken when the endpoint is made, and refused at each delivery."""
    allowed = WebhookSettings(allow_http=True)  # type: ignore[call-arg]
    with governed(tmp_path_factory.mktemp("outside"), webhooks=allowed) as target, target.http() as http:
        body = {"name": "n", "url": receiver.url, "event_types": ["batch.completed"]}
        assert http.post("/v1/webhook_endpoints", json=body).json()["error"]["param"] == "url"
        body["url"] = receiver.url.replace("127.0.0.1", "localhost")
        made = http.post("/v1/webhook_endpoints", json=body).json()
        answer = http.post(f"/v1/webhook_endpoints/{made['id']}/test", json={"event_type": "batch.failed"})
        assert "is not delivered to" in answer.json()["error"]["message"]
        assert receiver.arrived.empty()


def test_a_project_sees_only_its_own(target: GovernedTarget, receiver: Receiver) -> None:
    target.run(target.control.projects.put("other"))
    clients = {
        project: target.sdk("openai", target.make_key(role="contributor", project=project))
        for project in ("default", "other")
    }
    made = {
        project: client.webhooks.create(name=project, url=receiver.url, event_types=["batch.expired"])
        for project, client in clients.items()
    }
    for project, client in clients.items():
        assert [each.id for each in client.webhooks.list()] == [made[project].id]
        another = made["other" if project == "default" else "default"].id
        for call in (client.webhooks.retrieve, client.webhooks.delete, client.webhooks.rotate_secret):
            with pytest.raises(openai.NotFoundError):
                call(another)
    happens(target, "batch.expired", "batch_1", "other")
    headers, body = receiver.next()
    clients["other"].webhooks.unwrap(body, headers, secret=made["other"].signing_secret)
    with target.http() as http:
        assert deliveries(http, made["default"].id) == []
    target.run(target.control.projects.remove("other"))
    with pytest.raises(openai.APIStatusError):
        clients["other"].webhooks.list()
    target.run(target.control.projects.put("other"))
    fresh = target.sdk("openai", target.make_key(role="contributor", project="other"))
    assert list(fresh.webhooks.list()) == []
    clients["default"].webhooks.delete(made["default"].id)


def test_changes_are_in_the_audit_log_without_secrets(http: httpx.Client, receiver: Receiver) -> None:
    body = {"name": "n", "url": f"{receiver.url}?token=hidden", "event_types": ["batch.completed"]}
    made = http.post("/v1/webhook_endpoints", json=body).json()
    http.post(f"/v1/webhook_endpoints/{made['id']}", json={"enabled": False})
    rotated = http.post(f"/v1/webhook_endpoints/{made['id']}/rotate_secret", json={}).json()
    http.delete(f"/v1/webhook_endpoints/{made['id']}")
    entries = [each for each in http.get("/v1/x/audit").json()["data"] if each["subject"].endswith(made["id"])]
    assert [each["action"].partition(".")[2] for each in entries] == ["create", "update", "rotate", "delete"]
    said = json.dumps(entries)
    assert not any(each in said for each in ("hidden", made["signing_secret"], rotated["signing_secret"]))
