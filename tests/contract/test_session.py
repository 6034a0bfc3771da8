"""Signing in with a browser, as one does: the cookie's attributes, the second word, other sites' pages, the end."""

import concurrent.futures
import time
from collections.abc import Generator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from mainspring.core.config import ServerSettings
from mainspring.core.types import Limits
from tests.contract.target import KEY, GovernedTarget, fake_target, governed
from tests.postgres import Postgres

PATH = "/v1/x/session"
COOKIE = "mainspring_session"
HELLO = {"model": "fake", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 3}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("session")) as found:
        yield found


class Browser(httpx.Client):
    """A browser at our own pages. It keeps cookies, and says what browsers say."""

    def __init__(self, target: GovernedTarget, **headers: str) -> None:
        super().__init__(base_url=target.base_url, headers={"sec-fetch-site": "same-origin", **headers}, timeout=60)
        self.csrf = ""

    def sign_in(self, key: str) -> httpx.Response:
        answer = self.post(PATH, json={"key": key})
        assert answer.status_code == 200, answer.text
        self.csrf = answer.json()["csrf"]
        return answer

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """As our pages do it."""
        return self.request(method, path, headers={"x-csrf-token": self.csrf, **more.pop("headers", {})}, **more)


@pytest.fixture
def browser(target: GovernedTarget) -> Generator[Browser]:
    with Browser(target) as found:
        yield found


def morsel(answer: httpx.Response) -> Any:
    [line] = answer.headers.get_list("set-cookie")
    return SimpleCookie(line)[COOKIE]


def error(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == code


SIGNED_OUT = {
    "object": "session", "signed_in": False, "name": "", "kind": "", "roles": [], "project": "", "csrf": "",
    "expires_at": 0, "oidc": False,
}  # fmt: skip


def test_nobody_is_signed_in_at_first(browser: Browser) -> None:
    answer = browser.get(PATH)
    assert (answer.status_code, answer.json()) == (200, SIGNED_OUT)
    assert "set-cookie" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    error(browser.get("/v1/models"), 401, "invalid_api_key")


def test_a_key_signs_in_and_the_cookie_is_no_scripts(target: GovernedTarget, browser: Browser) -> None:
    answer = browser.sign_in(target.make_key(role="contributor"))
    said = answer.json()
    assert said.keys() == SIGNED_OUT.keys()
    assert said["signed_in"] is True
    assert (said["kind"], said["roles"], said["project"]) == ("key", ["contributor"], "default")
    assert said["name"].startswith("test-")
    assert abs(said["expires_at"] - time.time() - 30 * 86_400) < 60
    cookie = morsel(answer)
    assert cookie["httponly"] is True
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Lax", "/", "2592000")
    assert cookie["secure"] == cookie["domain"] == ""
    assert len(cookie.value) >= 43
    assert cookie.value not in answer.text
    assert browser.get(PATH).json() == said
    assert browser.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"x-forwarded-proto": "https"}, {"origin": "https://ai.example.org", "host": "ai.example.org"}],
)
def test_over_https_the_cookie_stays_there(target: GovernedTarget, headers: dict[str, str]) -> None:
    answer = httpx.post(target.base_url + PATH, json={"key": target.key}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert morsel(answer)["secure"] is True


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"key": "ms-wrong"}, 401, "invalid_api_key"),
        ({"key": "a.b.c"}, 401, "invalid_api_key"),
        ({"link": "wrong"}, 401, "invalid_link"),
        ({}, 400, "invalid_value"),
        ({"key": "ms-a", "link": "b"}, 400, "invalid_value"),
        ({"key": ""}, 400, "string_below_min_length"),
        ({"password": "x"}, 400, "unknown_parameter"),
    ],
)
def test_other_words_sign_nobody_in(browser: Browser, body: dict[str, str], status: int, code: str) -> None:
    answer = browser.post(PATH, json=body)
    error(answer, status, code)
    assert "set-cookie" not in answer.headers


def test_what_changes_something_needs_the_second_word(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.make_key())
    error(browser.post("/v1/chat/completions", json=HELLO), 403, "csrf")
    for wrong in ("", "wrong", browser.cookies[COOKIE], browser.csrf[:-1]):
        error(browser.post("/v1/chat/completions", json=HELLO, headers={"x-csrf-token": wrong}), 403, "csrf")
    assert browser.ask("POST", "/v1/chat/completions", json=HELLO).status_code == 200
    with Browser(target) as another:
        another.sign_in(target.make_key())
        error(browser.post("/v1/chat/completions", json=HELLO, headers={"x-csrf-token": another.csrf}), 403, "csrf")
    for method in ("PUT", "PATCH", "DELETE"):
        error(browser.request(method, "/v1/files/x"), 403, "csrf")
    assert browser.head("/v1/models").status_code == 405  # asked, and answered as with a key


def test_a_key_in_a_header_counts_and_needs_no_second_word(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.make_key())
    for headers in ({"api-key": target.key}, {"authorization": f"Bearer {target.key}"}):
        assert browser.get("/v1/x/audit", headers=headers).status_code == 200
        assert browser.post("/v1/chat/completions", json=HELLO, headers=headers).status_code == 200
    error(browser.get("/v1/models", headers={"api-key": "ms-wrong"}), 401, "invalid_api_key")
    error(browser.get("/v1/x/audit"), 403, "permission_denied")
    # What a proxy in front of us asks for is nothing of ours.
    assert browser.get("/v1/models", headers={"authorization": "Basic dTpw"}).status_code == 200


ELSEWHERE: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "https://evil.example", "x-forwarded-host": "ai.example.org"},
]


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_the_cookie_does_not_count_for_other_sites_pages(target: GovernedTarget, headers: dict[str, str]) -> None:
    with Browser(target) as browser:
        browser.sign_in(target.key)
        secret, csrf = browser.cookies[COOKIE], browser.csrf
    with httpx.Client(base_url=target.base_url, cookies={COOKIE: secret}, headers=headers) as page:
        error(page.get("/v1/models"), 401, "invalid_api_key")
        error(page.post("/v1/chat/completions", json=HELLO, headers={"x-csrf-token": csrf}), 401, "invalid_api_key")
        told = page.get(PATH)
        assert told.json() == SIGNED_OUT
        assert "set-cookie" not in told.headers
        error(page.post(PATH, json={"key": target.key}), 403, "cross_site")  # nor may it sign us in as somebody else
        error(page.delete(PATH, headers={"x-csrf-token": csrf}), 403, "cross_site")
        assert page.get("/v1/models", headers={"api-key": target.key}).status_code == 200
    with httpx.Client(base_url=target.base_url, cookies={COOKIE: secret}) as own:
        assert own.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin", "origin": "https://a-name-that-a-proxy-has-replaced.example"},
        {"origin": "http://ai.example.org", "host": "ai.example.org"},
        {"origin": "https://AI.example.org:8443", "host": "mainspring", "x-forwarded-host": "ai.example.org:8443"},
    ],
)
def test_it_counts_for_our_own(target: GovernedTarget, headers: dict[str, str]) -> None:
    with Browser(target) as browser:
        browser.sign_in(target.key)
        secret, csrf = browser.cookies[COOKIE], browser.csrf
    said = {**headers, "cookie": f"other=1; {COOKIE}={secret}", "x-csrf-token": csrf}
    with httpx.Client(base_url=target.base_url, headers=said) as page:
        assert page.get("/v1/models").status_code == 200
        assert page.post("/v1/chat/completions", json=HELLO).status_code == 200


def test_an_address_that_somebody_types_reads_and_changes_nothing(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.key)
    typed = {"sec-fetch-site": "none"}
    assert browser.get("/v1/models", headers=typed).status_code == 200
    error(browser.ask("POST", "/v1/chat/completions", json=HELLO, headers=typed), 401, "invalid_api_key")


def test_no_answer_lets_another_origin_use_the_cookie() -> None:
    origin = {"origin": "https://page.example"}
    with fake_target(cors_origins=("*",)) as target:
        asked = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-csrf-token"}
        for answer in (
            httpx.options(f"{target.base_url}/v1/chat/completions", headers=asked),
            httpx.get(f"{target.base_url}/v1/models", headers={**origin, "api-key": KEY}),
            httpx.get(f"{target.base_url}/v1/models", headers=origin),
        ):
            assert answer.headers["access-control-allow-origin"] == "https://page.example"
            assert "access-control-allow-credentials" not in answer.headers


def test_a_session_gives_no_more_than_its_key(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.make_key(role="reader"))
    error(browser.ask("POST", "/v1/chat/completions", json=HELLO), 403, "permission_denied")
    assert browser.get("/metrics").status_code == 200
    error(browser.get("/v1/x/audit"), 403, "permission_denied")
    browser.sign_in(target.make_key(limits=Limits(requests_per_minute=1)))
    assert browser.ask("POST", "/v1/chat/completions", json=HELLO).status_code == 200
    error(browser.ask("POST", "/v1/chat/completions", json=HELLO), 429, "rate_limit_exceeded")


def test_signing_out(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.make_key())
    stolen = dict(browser.cookies)
    error(browser.delete(PATH), 403, "csrf")
    answer = browser.ask("DELETE", PATH)
    assert (answer.status_code, answer.json()) == (200, SIGNED_OUT)
    gone = morsel(answer)
    assert (gone.value, gone["max-age"], gone["path"], gone["httponly"]) == ("", "0", "/", True)
    assert COOKIE not in browser.cookies
    error(httpx.get(f"{target.base_url}/v1/models", cookies=stolen), 401, "signed_out")
    told = httpx.get(target.base_url + PATH, cookies=stolen)
    assert told.json() == SIGNED_OUT
    assert "set-cookie" not in told.headers  # it may be another server's, on another port
    assert browser.delete(PATH).json() == SIGNED_OUT  # once more


def test_signing_out_everywhere(target: GovernedTarget) -> None:
    key = target.make_key()
    with Browser(target) as first, Browser(target) as second, Browser(target) as third, Browser(target) as other:
        for each in (first, second, third):
            each.sign_in(key)
        other.sign_in(target.make_key())
        error(first.ask("DELETE", PATH, params={"everywhere": "perhaps"}), 400, "invalid_value")
        assert third.ask("DELETE", PATH, params={"everywhere": "false"}).status_code == 200
        assert second.get("/v1/models").status_code == 200
        assert first.ask("DELETE", PATH, params={"everywhere": "true"}).status_code == 200
        error(second.get("/v1/models"), 401, "signed_out")
        assert other.get("/v1/models").status_code == 200
        second.sign_in(key)


def test_a_revoked_key_ends_its_sessions(target: GovernedTarget, browser: Browser) -> None:
    key = target.make_key()
    browser.sign_in(key)
    assert browser.get("/v1/models").status_code == 200
    target.run(target.control.keys.revoke(target.key_id(key)))
    error(browser.get("/v1/models"), 401, "signed_out")
    assert browser.get(PATH).json() == SIGNED_OUT


def test_who_signs_in_again_leaves_no_session_behind(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.make_key())
    before = dict(browser.cookies)
    browser.sign_in(target.make_key())
    assert browser.cookies[COOKIE] != before[COOKIE]
    error(httpx.get(f"{target.base_url}/v1/models", cookies=before), 401, "signed_out")


def test_the_project_can_be_another_one(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.key)
    assert browser.get("/v1/models", headers={"openai-project": "default"}).status_code == 200
    assert browser.get("/projects/default/v1/models").status_code == 200


def test_a_link_signs_in_once(target: GovernedTarget, browser: Browser) -> None:
    with target.http() as client:
        made = client.post(f"{PATH}/links")
    assert made.status_code == 200, made.text
    link = made.json()
    assert link["object"] == "session.link"
    assert 100 < link["expires_at"] - time.time() <= 120
    answer = browser.post(PATH, json={"link": link["code"]})
    assert answer.json()["roles"] == ["admin"]
    assert morsel(answer)["httponly"] is True
    assert browser.get("/v1/x/audit").status_code == 200
    with Browser(target) as late:
        error(late.post(PATH, json={"link": link["code"]}), 401, "invalid_link")


def test_of_several_browsers_one_gets_the_link(target: GovernedTarget) -> None:
    with target.http() as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        code = client.post(f"{PATH}/links").json()["code"]
        asked = [pool.submit(httpx.post, target.base_url + PATH, json={"link": code}) for _ in range(8)]
        assert sorted(each.result().status_code for each in asked) == [200, *[401] * 7]


def test_a_session_makes_no_link_and_a_user_s_key_neither(target: GovernedTarget, browser: Browser) -> None:
    browser.sign_in(target.key)
    error(browser.ask("POST", f"{PATH}/links"), 403, "key_needed")
    with target.http(target.make_key()) as client:
        error(client.post(f"{PATH}/links"), 403, "permission_denied")


def test_a_restart_signs_nobody_out(tmp_path: Path) -> None:
    with governed(tmp_path) as target, Browser(target) as browser:
        browser.sign_in(target.key)
        cookies, csrf = dict(browser.cookies), browser.csrf
    with governed(tmp_path) as target:
        said = {"cookie": f"{COOKIE}={cookies[COOKIE]}", "x-csrf-token": csrf}
        assert httpx.post(f"{target.base_url}/v1/chat/completions", json=HELLO, headers=said).status_code == 200


def test_two_servers_of_one_installation(tmp_path: Path, postgres_server: Postgres) -> None:
    database = postgres_server.url()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with (
        governed(tmp_path / "a", database=database) as first,
        governed(tmp_path / "b", database=database) as second,
        Browser(first) as here,
        Browser(second) as there,
    ):
        here.sign_in(first.key)
        there.cookies.update(here.cookies)
        assert there.get("/v1/models").status_code == 200
        assert here.ask("DELETE", PATH).status_code == 200
        limit = time.monotonic() + 10
        while there.get("/v1/models").status_code != 401:
            assert time.monotonic() < limit, "a session that was ended still works elsewhere"
            time.sleep(0.05)


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-prefix": "/other"}])
def test_the_cookie_stays_below_the_prefix(tmp_path: Path, headers: dict[str, str]) -> None:
    with governed(tmp_path, server=ServerSettings(root_path="/ai/main/")) as target:  # type: ignore[call-arg]
        for path in (PATH, f"/ai/main{PATH}"):
            answer = httpx.post(target.base_url + path, json={"key": target.key}, headers=headers)
            assert answer.status_code == 200, answer.text
            assert morsel(answer)["path"] == "/ai/main"
        with target.http() as client:
            assert client.get("/ai/main/v1/models").status_code == client.get("/v1/models").status_code == 200
            assert client.get("/ai/mainly/v1/models").status_code == 404


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("/ai", "/ai"), ("/ai/", "/ai"), ("/a/b.c~d_e-f", "/a/b.c~d_e-f"), ("", "/"), ("/", "/"), ("ai", "/"),
        ("//evil", "/"), ("/a//b", "/"), ("/../x", "/"), ("/a;Domain=evil", "/"), ("/a b", "/"), ("/a,/b", "/"),
        ("/" + "a" * 300, "/"),
    ],
)  # fmt: skip
def test_a_proxy_may_say_the_prefix(target: GovernedTarget, prefix: str, path: str) -> None:
    answer = httpx.post(target.base_url + PATH, json={"key": target.key}, headers={"x-forwarded-prefix": prefix})
    assert morsel(answer)["path"] == path
