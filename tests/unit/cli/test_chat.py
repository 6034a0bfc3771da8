"""The commands that talk, against the real edge over the shipped fake."""

import builtins
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.cli import chat
from mainspring.cli.chat import Conversation
from tests.contract.target import KEY, Target, fake_target
from tests.unit.cli.conftest import Ran, Run


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with fake_target() as running:
        yield running


@pytest.fixture
def served(target: Target, home: Path) -> Target:
    """A data directory whose server runs."""
    home.mkdir()
    (home / "server.json").write_text(json.dumps({"base_url": target.base_url, "pid": 1}))
    (home / "admin.key").write_text(f"{KEY}\n")
    return target


def answer(served: Target, text: str, **fields: object) -> str:
    body = served.post({"messages": [{"role": "user", "content": text}], "seed": 1, **fields}).json()
    return body["choices"][0]["message"]["content"]


def test_one_question(ms: Run, served: Target) -> None:
    ran = ms("chat", "hello there", "--max-tokens", "5")
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.out.split()) >= 1
    assert ran.out.endswith("\n")
    assert "\x1b" not in ran.out


def test_a_pipe_is_the_question_or_what_it_is_about(ms: Run, served: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        "mainspring.client.Client.chat",
        lambda _self, model, messages, **options: asked.append((model, messages, options)) or iter(["ok"]),
    )
    ms("chat", piped="from the pipe\n")
    ms("chat", "Summarise:", "--system", "Be brief.", "-m", "other/with slash", "--temperature", "0", piped="a text")
    user = {"role": "user", "content": "from the pipe"}
    both = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Summarise:\n\na text"}]
    assert asked == [("fake", [user], {}), ("other/with slash", both, {"temperature": 0.0})]


def test_json(ms: Run, served: Target) -> None:
    said = json.loads(ms("chat", "hello", "--json", "--max-tokens", "4").out)
    assert said["model"] == "fake"
    assert said["text"]


def test_complete(ms: Run, served: Target) -> None:
    assert ms("complete", "Once upon a time", "--max-tokens", "4").out.strip()
    assert ms("complete", piped="Once upon a time").out.strip()
    assert json.loads(ms("complete", "x", "--json").out)["text"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("chat", "hi", "--model", "absent"), "absent"),
        (("chat", "hi", "--key", "wrong"), "Incorrect API key"),
        (("chat", "!raise Overloaded"), ""),
        (("chat", "!raise Unavailable after 3"), ""),
    ],
)
def test_failures_are_one_sentence(ms: Run, served: Target, arguments: tuple[str, ...], says: str) -> None:
    ran = ms(*arguments)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_the_admin_key_is_sent_to_nobody_else(ms: Run, served: Target, home: Path) -> None:
    state = home / "server.json"
    state.write_text('{"base_url": "http://127.0.0.1:9"}')
    ran = ms("chat", "hi", "--base-url", served.base_url)
    assert "No API key" in ran.err
    assert ms("chat", "hi", "--base-url", served.base_url, "--key", KEY).code == 0


def test_the_key_may_come_from_the_environment(
    ms: Run, served: Target, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "admin.key").unlink()
    assert "No API key" in ms("chat", "hi").err
    monkeypatch.setenv("MAINSPRING_API_KEY", KEY)
    assert ms("chat", "hi").code == 0


def test_the_answer_cannot_drive_the_terminal(ms: Run, served: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = ["safe \x1b[2J", "\x1b", "[31m", "\x07 text"]
    monkeypatch.setattr("mainspring.client.Client.chat", lambda *_, **__: iter(pieces))
    ran = ms("chat", "hi")
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out
    assert ran.out.startswith("safe ")


# The conversation.


def talk(ms: Run, monkeypatch: pytest.MonkeyPatch, *lines: str | BaseException) -> Ran:
    waiting = list(lines)

    def read(_prompt: str = "") -> str:
        line = waiting.pop(0) if waiting else EOFError()
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr(builtins, "input", read)
    return ms("chat", "--max-tokens", "5", piped=None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, str]]]:
    """What the client is asked; it answers `answer N`."""
    seen: list[list[dict[str, str]]] = []

    def answer(_self: object, _model: str, messages: list[dict[str, str]], **_: object) -> Iterator[str]:
        seen.append(list(messages))
        yield "answer "
        yield f"**{len(seen)}**"

    monkeypatch.setattr("mainspring.client.Client.chat", answer)
    return seen


def test_a_conversation_remembers(
    ms: Run, served: Target, monkeypatch: pytest.MonkeyPatch, asked: list[list[dict[str, str]]]
) -> None:
    ran = talk(ms, monkeypatch, "one", "", "two", "/reset", "three", "/quit", "never")
    assert ran.code == 0
    assert [[turn["content"] for turn in messages] for messages in asked] == [
        ["one"],
        ["one", "answer **1**", "two"],
        ["three"],
    ]
    assert "answer 3" in ran.out  # Markdown is drawn, not printed


def test_a_failed_turn_is_forgotten_and_the_conversation_goes_on(
    ms: Run, served: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = talk(ms, monkeypatch, "!raise Unavailable", "hello")
    assert ran.code == 0
    assert ran.out.strip()


def test_ctrl_c_at_the_prompt_leaves_quietly(ms: Run, served: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert talk(ms, monkeypatch, KeyboardInterrupt()).code == 130


def test_ctrl_c_stops_an_answer_and_keeps_what_came(ms: Run, served: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def answer(_self: object, _model: str, messages: list[dict[str, str]], **_: object) -> Iterator[str]:
        seen.append([turn["content"] for turn in messages])
        yield "half"
        if len(seen) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("mainspring.client.Client.chat", answer)
    ran = talk(ms, monkeypatch, "one", "two")
    assert ran.code == 0
    assert "(stopped)" in ran.err
    assert seen[1] == ["one", "half", "two"]


def test_slash_commands() -> None:
    conversation = Conversation("a", None)
    conversation.turns = [{"role": "user", "content": "x"}]
    assert conversation.messages == conversation.turns
    conversation.command("/system Be brief.", ())
    assert conversation.messages == [{"role": "system", "content": "Be brief."}]
    conversation.command("/system", ())
    assert conversation.messages == []
    assert "b answers" in conversation.command("/model b", ("a", "b"))
    assert conversation.model == "b"
    assert "a, b" in conversation.command("/model absent", ("a", "b"))
    assert conversation.model == "b"
    assert conversation.command("/what", ()) == chat.HELP
