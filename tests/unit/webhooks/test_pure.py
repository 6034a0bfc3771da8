"""Signatures, addresses and back-off: what is computed without a socket, a clock or a database."""

import asyncio
import json
import time
from ipaddress import ip_address

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI

from mainspring.core.errors import InvalidRequest
from mainspring.webhooks.addresses import MAX_URL, check_url, networks_of, why_not
from mainspring.webhooks.backoff import CAP_S, next_try
from mainspring.webhooks.events import EVENT_TYPES, Event, body_of, sample_of
from mainspring.webhooks.signing import digest_of, hint_of, secret_of, signed

SECRET = secret_of(b"installation", "whe_1", 0)
DAYS_S = 3 * 86_400.0


def event(**more) -> Event:
    return Event(
        **{"id": "evt_1", "project": "p", "type": "batch.completed", "object": "batch_1", "created": 7.9, **more}
    )


# -- signatures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_the_sdk_takes_every_event_that_we_tell(kind: str) -> None:
    body, now_s = body_of(sample_of(kind, "p", time.time())), time.time()
    headers = signed([SECRET], "wh_1", body, now_s)
    with OpenAI(api_key="x", webhook_secret=SECRET) as client:
        found = client.webhooks.unwrap(body, headers)
    assert type(found).__name__ == "".join(part.capitalize() for part in kind.replace("_", ".").split(".")) + (
        "WebhookEvent"
    )
    assert (found.type, found.object) == (kind, "event")
    assert found.model_extra in ({}, None)


def test_the_body_is_what_openai_sends() -> None:
    assert json.loads(body_of(event())) == {
        "id": "evt_1", "object": "event", "created_at": 7, "type": "batch.completed", "data": {"id": "batch_1"},
    }  # fmt: skip


@pytest.mark.parametrize("broken", ["body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret"])
def test_what_was_changed_on_its_way_is_refused(broken: str) -> None:
    body, now_s = body_of(event()), time.time()
    headers = signed([SECRET], "wh_1", body, now_s)
    if broken in headers:
        headers[broken] = {"webhook-timestamp": str(int(now_s) - 1)}.get(broken, headers[broken][:-5] + "AAAA=")
    secret = secret_of(b"installation", "whe_1", 1) if broken == "secret" else SECRET
    client = OpenAI(api_key="x")
    with client, pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body + b" " * (broken == "body"), headers, secret=secret)


def test_while_a_secret_is_replaced_either_is_good() -> None:
    body, now_s = body_of(event()), time.time()
    new = secret_of(b"installation", "whe_1", 1)
    headers = signed([new, SECRET], "wh_1", body, now_s)

    async def later() -> None:
        async with AsyncOpenAI(api_key="x") as client:
            client.webhooks.verify_signature(body, headers, secret=SECRET)

    with OpenAI(api_key="x") as client:
        client.webhooks.verify_signature(body, headers, secret=new)
    asyncio.run(later())


def test_secrets_differ_by_endpoint_installation_and_rotation_and_only_their_ends_are_shown() -> None:
    made = {secret_of(base, name, n) for base in (b"a", b"b") for name in ("whe_1", "whe_2") for n in (0, 1)}
    assert len(made) == len({digest_of(each) for each in made}) == 8
    assert secret_of(b"a", "whe_1", 0) in made
    assert hint_of(SECRET) == f"whsec_...{SECRET[-4:]}"


# -- addresses ---------------------------------------------------------------------------------------------------------

INSIDE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1",
    "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:101::1", "2001:db8::1", "not an address",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_the_internets_is_refused(address: str) -> None:
    assert why_not(address, ()) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internets_is_taken(address: str) -> None:
    assert why_not(address, ()) is None


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_the_same_however_it_is_written(address) -> None:
    verdict = why_not(str(address), ()) is None
    assert verdict == (address.is_global and not address.is_multicast)
    for written in (f"::ffff:{address}", str(ip_address(int(ip_address("64:ff9b::")) + int(address)))):
        assert (why_not(written, ()) is None) == verdict


def test_settings_allow_networks_and_nothing_beside_them() -> None:
    allowed = networks_of(["127.0.0.0/8", "fd00::/8"])
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "fd12::1"):
        assert why_not(address, allowed) is None
    for address in ("10.0.0.1", "::1", "169.254.169.254"):
        assert why_not(address, allowed) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "https://", "https:///path", "//example.com", "example.com", "",
        "https://user@example.com/", "https://user:pw@example.com/", "https://example.com/#part",
        "https://exa mple.com/", "https://example.com/\r\nhost: evil", "https://bücher.example/", "https://[::1/",
        "https://example.com:99999/", "https://127.0.0.1/", "https://[::1]:8443/x", "https://169.254.169.254/latest",
        "https://example.com/" + "a" * MAX_URL, "file:///etc/passwd", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_an_url_that_could_never_be_delivered_to_is_refused_when_it_is_given(url: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        check_url(url, allow_http=False, allowed=())
    assert error.value.param == "url"


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com:8443/a;b?c=d&e", "https://8.8.8.8/"])
def test_an_url_that_may_be_delivered_to_is_taken(url: str) -> None:
    check_url(url, allow_http=False, allowed=())


def test_settings_allow_http_and_this_machine() -> None:
    check_url("http://127.0.0.1:8000/hook", allow_http=True, allowed=networks_of(["127.0.0.0/8"]))
    check_url("http://localhost:8000/hook", allow_http=True, allowed=())  # what it stands for is looked up later


# -- back-off ----------------------------------------------------------------------------------------------------------


def test_a_delivery_is_tried_fourteen_times_in_three_days() -> None:
    now_s, tries, waits = 0.0, 0, list[float]()
    while True:
        tries += 1
        again_s = next_try(tries, since_s=0, now_s=now_s, retry_s=DAYS_S, draw=0.5)
        if again_s is None:
            break
        waits.append(again_s - now_s)
        now_s = again_s
    assert waits[:8] == [5, 15, 45, 135, 405, 1215, 3645, 10_935]
    assert (now_s, tries) == (DAYS_S, 15)
    assert max(waits) == CAP_S


@given(
    tries=st.integers(1, 10**6), age_s=st.floats(0, 2 * DAYS_S), draw=st.floats(0, 1),
    asked_s=st.floats(0, 10**7),
)  # fmt: skip
def test_a_next_attempt_lies_ahead_and_within_its_time(tries: int, age_s: float, draw: float, asked_s: float) -> None:
    again_s = next_try(tries, since_s=0, now_s=age_s, retry_s=DAYS_S, draw=draw, retry_after_s=asked_s)
    if age_s >= DAYS_S:
        assert again_s is None
    else:
        assert again_s is not None
        assert age_s < again_s <= DAYS_S
        assert again_s == DAYS_S or again_s - age_s >= min(asked_s, CAP_S) - 1e-6
