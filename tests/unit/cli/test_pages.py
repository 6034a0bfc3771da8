import json
import webbrowser
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from mainspring.cli.pages import sign_in_url, visit
from tests.contract.target import GovernedTarget, governed
from tests.unit.cli.conftest import Run


@pytest.fixture
def target(home: Path) -> Generator[GovernedTarget]:
    """A server that runs on the data directory."""
    home.mkdir()
    with governed(home) as found:
        (home / "server.json").write_text(json.dumps({"base_url": found.base_url, "pid": 1}))
        (home / "admin.key").write_text(found.key)
        yield found


class Window:
    """A browser that notes where it is sent."""

    def __init__(self) -> None:
        self.visited: list[str] = []

    def open(self, url: str) -> bool:
        self.visited.append(url)
        return True


def test_it_opens_a_running_server_signed_in(ms: Run, target: GovernedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window()
    monkeypatch.setattr(webbrowser, "get", lambda: window)
    ran = ms("open")
    assert (ran.code, ran.out) == (0, ""), ran.err
    [url] = window.visited
    page, _, code = url.partition("#link=")
    assert page == f"{target.base_url}/sign-in"
    assert httpx.post(f"{target.base_url}/v1/x/session", json={"link": code}).json()["roles"] == ["admin"]


def test_it_prints_the_link_where_there_is_no_browser(
    ms: Run, target: GovernedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", none)
    for arguments in ((), ("--print",)):
        ran = ms("open", *arguments)
        assert ran.code == 0, ran.err
        assert ran.out.startswith(f"{target.base_url}/sign-in#link=")
        assert "two minutes" in ran.err


def test_a_user_s_key_opens_nothing(ms: Run, target: GovernedTarget) -> None:
    ran = ms("open", "--key", target.make_key(), "--base-url", target.base_url)
    assert (ran.code, ran.out) == (2, "")
    assert "needs the role admin" in ran.err


def test_a_browser_in_the_terminal_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROWSER", raising=False)
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("true"))
    assert not visit("http://127.0.0.1:1/")


@pytest.mark.parametrize("base", ["http://h:1/ai", "http://h:1/ai/", "http://h:1/ai/v1"])
def test_the_address_keeps_the_prefix(base: str) -> None:
    assert sign_in_url(base, "CODE") == "http://h:1/ai/sign-in#link=CODE"
