"""People who sign in with a browser at a real issuer (oidc-provider, started here), and those who only say so."""

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from mainspring.core.config import IdentitySettings
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_oidc import RealIssuer, pytestmark, running
from tests.issuer import AUDIENCE

__all__ = ["pytestmark"]

PATH = "/v1/x/session"
COOKIE, KEPT = "mainspring_session", "mainspring_oidc"


@pytest.fixture(scope="module")
def issuer() -> Generator[RealIssuer]:
    with running() as found:
        yield found


def identity(issuer: RealIssuer, client: str = "pages", **more: Any) -> IdentitySettings:
    secret = "" if client == "public-pages" else client
    return IdentitySettings(  # type: ignore[call-arg]
        issuer=issuer.url, audience=(AUDIENCE,), roles={"ml-team": "contributor"}, client_id=client,
        client_secret=secret, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def target(issuer: RealIssuer, tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("pages"), identity=identity(issuer)) as found:
        yield found


class Browser:
    """Goes where it is sent. It keeps the cookies of each server apart, as one does of each host."""

    def __init__(self, target: GovernedTarget) -> None:
        self.own, self.theirs = httpx.Client(base_url=target.base_url), httpx.Client()
        self.base_url = target.base_url

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.own.close()
        self.theirs.close()

    def go(self, url: str) -> httpx.Response:
        """One step."""
        client = self.own if url.startswith(("/", self.base_url)) else self.theirs
        return client.get(url)

    def until_back(self, start: str = f"{PATH}/oidc") -> str:
        """Where the issuer sends it in the end: to our callback."""
        answer = self.go(start)
        for _ in range(10):
            assert answer.status_code in (302, 303), answer.text
            place = str(answer.url.join(answer.headers["location"]))
            if place.startswith(f"{self.base_url}{PATH}/oidc/callback"):
                return place
            answer = self.go(place)
        raise AssertionError(place)

    def session(self) -> Any:
        return self.own.get(PATH).json()


@pytest.fixture
def browser(target: GovernedTarget) -> Generator[Browser]:
    with Browser(target) as found:
        yield found


def lines(answer: httpx.Response) -> dict[str, str]:
    return {line.partition("=")[0]: line for line in answer.headers.get_list("set-cookie")}


def refused(answer: httpx.Response, code: str = "oidc_failed") -> None:
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == f"/sign-in?error={code}"
    assert COOKIE not in lines(answer)


def test_there_and_back(target: GovernedTarget, browser: Browser) -> None:
    assert browser.session()["oidc"] is True
    begun = browser.go(f"{PATH}/oidc")
    asked = {name: value for name, [value] in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", "pages", "S256")
    assert asked["redirect_uri"] == f"{target.base_url}{PATH}/oidc/callback"
    kept = lines(begun)[KEPT]
    assert re.search(f"; Path={PATH}/oidc; Max-Age=600; HttpOnly; SameSite=Lax$", kept)
    secret = kept.partition("=")[2].partition(";")[0]
    assert not {secret} & set(asked.values())

    ended = browser.go(browser.until_back())
    assert (ended.status_code, ended.headers["location"]) == (303, "/")
    assert ended.headers["cache-control"] == "no-store"
    assert "; HttpOnly; SameSite=Lax" in lines(ended)[COOKIE]
    assert "Max-Age=0" in lines(ended)[KEPT]
    said = browser.session()
    assert (said["signed_in"], said["kind"], said["name"], said["roles"]) == (True, "oidc", "Ada", ["contributor"])
    assert browser.own.get("/v1/models").status_code == 200
    asks: dict[str, Any] = {"json": {"model": "fake", "prompt": "a", "max_tokens": 1}}
    assert browser.own.post("/v1/completions", **asks).json()["error"]["code"] == "csrf"
    csrf = {"x-csrf-token": said["csrf"]}
    assert browser.own.post("/v1/completions", headers=csrf, **asks).status_code == 200
    assert browser.own.delete(f"{PATH}?everywhere=true", headers=csrf).json()["signed_in"] is False
    assert browser.own.get("/v1/models").status_code == 401


def test_without_a_secret_and_below_a_prefix(tmp_path: Path, issuer: RealIssuer) -> None:
    with governed(tmp_path, identity=identity(issuer, "public-pages")) as target, Browser(target) as browser:
        back = browser.until_back()
        ended = browser.own.get(back, headers={"x-forwarded-prefix": "/ai"})
        assert ended.headers["location"] == "/ai/sign-in?error=oidc_failed"  # the code was made for another address
        assert browser.go(browser.until_back()).headers["location"] == "/"
        assert browser.session()["kind"] == "oidc"


def test_a_code_is_good_once(browser: Browser) -> None:
    back = browser.until_back()
    kept = browser.own.cookies[KEPT]
    assert browser.go(back).headers["location"] == "/"
    refused(browser.go(back))  # the browser has nothing of it any longer
    browser.own.cookies.set(KEPT, kept, domain="127.0.0.1", path=f"{PATH}/oidc")
    refused(browser.go(back))


def test_an_answer_that_this_browser_did_not_ask_for(target: GovernedTarget, browser: Browser) -> None:
    """Whoever sends somebody their own link back signs nobody in as themselves."""
    with Browser(target) as mallory:
        theirs = mallory.until_back()
        refused(browser.go(theirs))
        browser.go(f"{PATH}/oidc")  # it has asked something, and not this
        refused(browser.go(theirs))
    assert browser.session()["signed_in"] is False


@pytest.mark.parametrize("spoil", ["state", "code", "iss", "nothing", "error"])
def test_an_answer_that_was_changed(browser: Browser, spoil: str) -> None:
    back = urlsplit(browser.until_back())
    query = {name: value for name, [value] in parse_qs(back.query).items()}
    if spoil == "nothing":
        query = {}
    elif spoil == "error":
        query = {"error": "access_denied", "state": query["state"]}
    else:
        query[spoil] = "x" + query[spoil][1:]
    refused(browser.own.get(back.path, params=query))
    assert browser.session()["signed_in"] is False


def test_the_issuer_lets_nobody_in(tmp_path: Path) -> None:
    with (
        running(REFUSES="1") as issuer,
        governed(tmp_path, identity=identity(issuer)) as target,
        Browser(target) as browser,
    ):
        refused(browser.go(browser.until_back()))


def test_a_secret_that_the_issuer_does_not_know(tmp_path: Path, issuer: RealIssuer) -> None:
    settings = identity(issuer).model_copy(update={"client_secret": "wrong"})
    with governed(tmp_path, identity=settings) as target, Browser(target) as browser:
        refused(browser.go(browser.until_back()))


def test_an_issuer_that_is_down(tmp_path: Path) -> None:
    settings = IdentitySettings(issuer="http://127.0.0.1:1", audience=(AUDIENCE,), client_id="pages")  # type: ignore[call-arg]
    with governed(tmp_path, identity=settings) as target, Browser(target) as browser:
        refused(browser.go(f"{PATH}/oidc"), "issuer_unavailable")
        assert browser.own.post(PATH, json={"key": target.key}).status_code == 200


def test_it_is_offered_only_where_it_is_set_up(tmp_path: Path) -> None:
    with governed(tmp_path) as target, Browser(target) as browser:
        assert browser.session()["oidc"] is False
        assert browser.go(f"{PATH}/oidc").status_code == 401
