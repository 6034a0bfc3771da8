"""containers and the tool code_interpreter with the official clients, over the real sandbox."""

import json
from collections.abc import Generator
from typing import Any

import openai
import pytest
from openai import OpenAI

from mainspring.store import containers as module
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import API_VERSION, GovernedTarget, governed
from tests.contract.test_node import FOLDER, NODE, PACKAGE

FOLDERS = {"openai": "/v1", "azure_v1": "/openai/v1", "azure": "/openai"}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    with governed(tmp_path_factory.mktemp("containers")) as found:
        yield found


def raw(target: GovernedTarget, dialect: str, path: str, method: str = "GET", **more: Any) -> Any:
    query = {"api-version": API_VERSION} if dialect == "azure" else {}
    with target.http() as client:
        url = f"{FOLDERS[dialect]}/containers{path}"
        return client.request(method, url, params={**query, **more.pop("params", {})}, **more)


def ask(client: OpenAI, code: str, container: Any = None, **more: Any) -> Any:
    call = json.dumps({"code": code})
    tools: Any = [{"type": "code_interpreter", "container": container or {"type": "auto"}}]
    include: Any = ["code_interpreter_call.outputs"]
    return client.responses.create(
        model="fake", input=f"!call python {call}", tools=tools, **{"include": include, **more}
    )


def logs(response: Any) -> str:
    return response.output[0].outputs[0].logs


def test_containers_and_their_files_with_the_official_client(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    uploaded = client.files.create(file=("data.csv", b"a,b\n1,2\n"), purpose="user_data")
    made = client.containers.create(name="mine", file_ids=[uploaded.id])
    assert (made.name, made.status, made.object, made.memory_limit) == ("mine", "running", "container", "1g")
    assert made.expires_after is not None
    assert (made.expires_after.anchor, made.expires_after.minutes) == ("last_active_at", 20)
    check("ContainerResource", raw(target, dialect, f"/{made.id}").json())
    assert client.containers.retrieve(made.id).model_dump() == made.model_dump()
    files = client.containers.files
    one = files.create(made.id, file=("../evil/na:me.txt", b"hello"))
    two = files.create(made.id, file_id=uploaded.id)
    assert (one.path, one.bytes, one.source) == ("/mnt/data/na_me.txt", 5, "user")
    assert two.path == "/mnt/data/data.csv"
    check("ContainerFileResource", raw(target, dialect, f"/{made.id}/files/{one.id}").json())
    check("ContainerFileListResource", raw(target, dialect, f"/{made.id}/files").json())
    assert [each.id for each in files.list(made.id, limit=1)] == [two.id, one.id]
    assert [each.id for each in files.list(made.id, order="asc", limit=1)] == [one.id, two.id]
    assert files.retrieve(one.id, container_id=made.id).model_dump() == one.model_dump()
    assert files.content.retrieve(one.id, container_id=made.id).read() == b"hello"
    files.delete(one.id, container_id=made.id)
    with pytest.raises(openai.NotFoundError):
        files.retrieve(one.id, container_id=made.id)
    check("ContainerListResource", raw(target, dialect, "").json())
    assert made.id in [each.id for each in client.containers.list(limit=1)]
    assert [each.id for each in client.containers.list(name="none of this")] == []
    client.containers.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.containers.retrieve(made.id)


def test_code_runs_and_its_output_is_shown_to_whoever_asks_for_it(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    response = ask(client, "print('hello')\n6 * 7")
    call, message = response.output
    assert (call.type, call.status, call.code) == ("code_interpreter_call", "completed", "print('hello')\n6 * 7")
    assert logs(response) == "hello\n42"
    assert message.type == "message"
    assert client.containers.retrieve(call.container_id).name == "auto"
    assert ask(client, "1", include=[]).output[0].outputs is None
    assert target.engine is not None
    told = target.engine.requests[-3].prompt.messages[-1]  # type: ignore[union-attr]
    assert (told.role, told.content) == ("tool", "hello\n42")


def test_a_stream_tells_the_code_as_events(target: GovernedTarget) -> None:
    code = "total = 0\nfor number in range(100):\n    total += number\nprint(total)"
    events = list(ask(target.sdk("openai"), code, stream=True))
    kinds = [each.type.removeprefix("response.") for each in events if "code_interpreter" in each.type]
    assert list(dict.fromkeys(kinds)) == [
        "code_interpreter_call.in_progress", "code_interpreter_call_code.delta", "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting", "code_interpreter_call.completed",
    ]  # fmt: skip
    assert "".join(each.delta for each in events if each.type.endswith("_code.delta")) == code
    assert logs(events[-1].response) == "4950"


def test_a_session_goes_on_in_its_container(target: GovernedTarget) -> None:
    client = target.sdk("openai")
    first = ask(client, "import math\nclass Point:\n    def __init__(self, x): self.x = x\ndef twice(x): return 2 * x\n"
                "p, xs = Point(3), [1, 2]\nopen('kept.txt', 'w').write('text')")  # fmt: skip
    second = ask(
        client, "print(twice(p.x), math.pi > 3, xs, open('/mnt/data/kept.txt').read())", previous_response_id=first.id
    )
    assert logs(second) == "6 True [1, 2] text"
    assert second.output[0].container_id == first.output[0].container_id
    apart = ask(client, "print(xs)")
    assert "NameError" in logs(apart)
    assert apart.output[0].container_id != first.output[0].container_id
    named = ask(client, "xs.append(3)\nxs", container=first.output[0].container_id)
    assert logs(named) == "[1, 2, 3]"
    shown = [each.path for each in client.containers.files.list(first.output[0].container_id)]
    assert shown == ["/mnt/data/kept.txt"], "what a session remembers is nobody's file"


def test_files_that_code_writes_are_cited_and_can_be_had(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    uploaded = client.files.create(file=("in.txt", b"abc"), purpose="user_data")
    response = ask(
        client,
        "import os\nos.mkdir('out')\nopen('out/result.txt', 'w').write(open('/mnt/data/in.txt').read().upper())",
        container={"type": "auto", "file_ids": [uploaded.id]},
    )  # fmt: skip
    (part,) = response.output[-1].content
    (cited,) = part.annotations
    assert (cited.type, cited.filename) == ("container_file_citation", "result.txt")
    assert 0 <= cited.start_index <= cited.end_index <= len(part.text)
    content = client.containers.files.content.retrieve(cited.file_id, container_id=cited.container_id)
    assert content.read() == b"ABC"


def test_what_code_does_wrong_is_told_and_harms_nobody(target: GovernedTarget) -> None:
    client = target.sdk("openai")
    failed = logs(ask(client, "def f():\n    return 1 / 0\nf()"))
    assert failed.startswith("Traceback")
    assert failed.endswith("ZeroDivisionError: division by zero")
    assert "inside" not in failed
    assert "SyntaxError" in logs(ask(client, "this is not python!"))
    assert "Permission" in logs(ask(client, "import socket\nsocket.create_connection(('127.0.0.1', 80))"))
    large = ask(client, "open('large', 'wb').write(bytes(30 * 2**20))")
    assert large.status == "completed"
    assert client.containers.files.list(large.output[0].container_id).data == []
    nothing = client.responses.create(
        model="fake", input='!call python {"cod": "1"}',
        tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
    )  # fmt: skip
    assert nothing.output[0].status == "failed"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("container", "param"),
    [
        ("cntr_none", "tools[0].container"),
        ({"type": "auto", "file_ids": ["file-none"]}, "tools[0].container.file_ids"),
        ({"type": "auto", "memory_limit": "64g"}, "tools[0].container.memory_limit"),
        ({"type": "auto", "network_policy": {"type": "allowlist", "allowed_domains": ["x"]}},
         "tools[0].container.network_policy.type"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_named(target: GovernedTarget, container: Any, param: str) -> None:
    tools = [{"type": "code_interpreter", "container": container}]
    answer = target.post({"input": "x", "tools": tools}, "responses")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "x", "memory_limit": "16g"}, "memory_limit"),
        ({"name": "x", "skills": [{"type": "skill_reference"}]}, "skills"),
        ({"name": "x", "expires_after": {"anchor": "last_active_at", "minutes": 21}}, "expires_after.minutes"),
        ({"name": "x", "network_policy": {"type": "allowlist"}}, "network_policy.type"),
    ],
)
def test_containers_that_cannot_be_are_refused(target: GovernedTarget, body: dict[str, Any], param: str) -> None:
    answer = raw(target, "openai", "", "POST", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_files_that_are_too_large_or_none_are_refused(target: GovernedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    client = target.sdk("openai")
    made = client.containers.create(name="small")
    for wrong in ({"files": {"other": b"x"}}, {"data": {"file_id": "a"}, "files": {"file": b"x"}}, {"json": {}}):
        assert raw(target, "openai", f"/{made.id}/files", "POST", **wrong).status_code == 400
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    client.containers.files.create(made.id, file=("a", b"12345678"))
    with pytest.raises(openai.APIStatusError) as refused:
        client.containers.files.create(made.id, file=("b", b"123"))
    assert refused.value.status_code == 413
    assert [each.path for each in client.containers.files.list(made.id)] == ["/mnt/data/a"], "all of it or nothing"


def test_a_projects_containers_are_its_own_and_go_with_it(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("other"))
    there = target.sdk("openai", target.make_key(project="other"))
    made = target.sdk("openai").containers.create(name="mine")
    file = target.sdk("openai").containers.files.create(made.id, file=("a", b"x"))
    for attempt in (
        lambda: there.containers.retrieve(made.id),
        lambda: there.containers.delete(made.id),
        lambda: there.containers.files.list(made.id),
        lambda: there.containers.files.create(made.id, file=("a", b"x")),
        lambda: there.containers.files.retrieve(file.id, container_id=made.id),
        lambda: there.containers.files.content.retrieve(file.id, container_id=made.id),
        lambda: there.containers.files.delete(file.id, container_id=made.id),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    assert there.containers.list().data == []
    gone = there.containers.create(name="theirs")
    target.run(target.control.projects.remove("other"))
    target.run(target.control.projects.put("other"))
    with pytest.raises(openai.NotFoundError):
        target.sdk("openai", target.make_key(project="other")).containers.retrieve(gone.id)


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_containers_and_code_with_the_npm_package(target: GovernedTarget) -> None:
    seen = run([str(NODE), str(FOLDER / "containers.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        assert found["content"] == "hello"
        assert len(set(found["listed"])) == len(found["listed"]) == 2
        assert found["logs"] == "HELLO"
        assert found["cited"] == "WRITTEN"
        assert found["after"] == {"kind": "NotFoundError", "status": 404}
