import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring import wiring
from mainspring.cli.up import welcome
from mainspring.core.config import Settings
from mainspring.models.catalog import Catalog
from tests.contract.target import KEY, fake_target
from tests.unit.cli.conftest import Run
from tests.unit.engine.tiny_llama import write_tiny
from tests.unit.models.gguf_files import write_gguf


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `serve` is called with, instead of serving."""
    calls: list[Settings] = []

    def serve(settings: Settings, announce: object, **_: object) -> int:
        calls.append(settings)
        return 0

    monkeypatch.setattr(wiring, "serve", serve)
    return calls


def test_models_are_fetched_and_named(ms: Run, home: Path, tmp_path: Path, served: list[Settings]) -> None:
    first, second = write_gguf(tmp_path / "First-Q8_0.gguf"), write_gguf(tmp_path / "second.gguf")
    ran = ms("up", "--model", f"file:{first}", "--model", f"file:{second}", "--port", "0", "--host", "0.0.0.0")
    assert ran.code == 0, ran.err
    [settings] = served
    assert settings.models == ("first", "second")
    assert (settings.server.port, settings.server.host, settings.home) == (0, "0.0.0.0", home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert "copying" in ran.err

    first.unlink()
    assert ms("up", "--model", f"file:{first}").err == ""  # it is here already
    assert served[-1].models == ("first",)


def test_the_first_start_prepares_and_says_so(
    ms: Run, home: Path, tmp_path: Path, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINSPRING_ENGINE__FORMAT", "auto")
    monkeypatch.setenv("MAINSPRING_ENGINE__THREADS", "1")
    source = f"file:{write_tiny(tmp_path / 'tiny.gguf')}"
    first = ms("up", "--model", source)
    assert first.code == 0, first.err
    assert "finding the fastest format, once" in first.err
    assert "measuring: q8_0" in first.err
    assert "tiny is served as " in first.err
    assert ms("up", "--model", source).err == ""
    monkeypatch.setattr("mainspring.engine.preparation.FIRST_USE_BYTES", 1)
    monkeypatch.setenv("MAINSPRING_ENGINE__THREADS", "2")
    assert "`mainspring models prepare tiny`" in ms("up", "--model", source).err
    assert len(served) == 3


def test_an_older_version_is_named_with_its_version(
    ms: Run, home: Path, tmp_path: Path, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = write_gguf(tmp_path / "a" / "m.gguf"), write_gguf(tmp_path / "b" / "m.gguf", weights=b"new")
    catalog = Catalog(home / "models")
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: 4e9)
        catalog.pull(f"file:{new}")
    version = catalog.pull(f"file:{old}").version
    ms("up", "--model", f"file:{old}")
    ms("up", "--model", f"file:{new}")
    assert [settings.models for settings in served] == [(f"m@{version}",), ("m",)]


def test_the_exit_code_is_the_servers(ms: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "serve", lambda *_, **__: 7)
    assert ms("up", "--model", f"file:{write_gguf(tmp_path / 'm.gguf')}").code == 7


def test_the_snippet_works_when_pasted(tmp_path: Path) -> None:
    key = tmp_path / "admin.key"
    key.write_text(f"{KEY}\n")
    with fake_target() as target:
        text = welcome(target.base_url, key, ("fake",), 1.0)
        snippet = text[text.index("from pathlib") : text.index("Ctrl-C")]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(snippet, "snippet", "exec"), {})
    assert out.getvalue().strip()
    assert f"{target.base_url}/v1" in text


def test_the_welcome_says_where_the_pages_are(tmp_path: Path) -> None:
    assert "  Pages     http://127.0.0.1:8080/\n" in welcome("http://0.0.0.0:8080", tmp_path / "absent", ("m",), 1.0)
    with_link = welcome("http://127.0.0.1:8080/ai", tmp_path / "absent", ("m",), 1.0, "CODE")
    assert "  Pages     http://127.0.0.1:8080/ai/sign-in#link=CODE\n" in with_link
    assert "one browser" in with_link
    assert "http://127.0.0.1:8080/ai/v1" in with_link


def test_open_asks_for_a_link_and_visits_it(
    ms: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    visited: list[str] = []
    monkeypatch.setattr("mainspring.cli.up.visit", lambda url, **_: visited.append(url))

    def serve(settings: Settings, announce: Callable[[str, Path, str], None], *, with_link: bool) -> int:
        announce("http://0.0.0.0:8080", tmp_path / "absent", "CODE" if with_link else "")
        return 0

    monkeypatch.setattr(wiring, "serve", serve)
    source = f"file:{write_gguf(tmp_path / 'm.gguf')}"
    assert "link=" not in ms("up", "--model", source).out
    assert visited == []
    assert "http://127.0.0.1:8080/sign-in#link=CODE" in ms("up", "--model", source, "--open").out
    assert visited == ["http://127.0.0.1:8080/sign-in#link=CODE"]


def test_the_welcome_names_an_address_that_can_be_reached(tmp_path: Path) -> None:
    text = welcome("http://0.0.0.0:8080", tmp_path / "absent", ("m@abc",), 1.0)
    assert "http://127.0.0.1:8080/v1" in text
    assert "0.0.0.0" not in text
    assert 'model="m"' in text
    assert "MAINSPRING_API_KEY" in text
