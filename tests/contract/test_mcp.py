"""The tool mcp with the official clients, against a real MCP server on loopback."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from mainspring.core.config_tools import ToolSettings
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import GovernedTarget, governed
from tests.contract.test_node import FOLDER, NODE, PACKAGE

pytest.importorskip("mcp")
SECRET = "a-secret-of-the-client"


@pytest.fixture(scope="module", params=["events", "json"])
def server(request: pytest.FixtureRequest) -> Generator[str]:
    """Its URL; it answers with streams of events, or with JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).with_name("mcp_server.py")
    process = subprocess.Popen([sys.executable, str(program), str(port), request.param], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "the MCP server has ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    settings = ToolSettings(private_hosts=("127.0.0.1",))  # type: ignore[call-arg]
    with governed(tmp_path_factory.mktemp("mcp"), tools=settings) as found:
        yield found


def ask(client: OpenAI, server: str, name: str = "add", arguments: Any = None, **more: Any) -> Any:
    given = {"a": 2, "b": 3} if arguments is None else arguments
    tool: Any = {
        "type": "mcp", "server_label": "tests", "server_url": server, "require_approval": "never",
        **more.pop("tool", {}),
    }  # fmt: skip
    call = f"!call tests__{name} {json.dumps(given)}"
    return client.responses.create(model="fake", input=more.pop("input", call), tools=[tool], **more)


def test_tools_are_listed_and_called(target: GovernedTarget, server: str, dialect: str) -> None:
    response = ask(target.sdk(dialect), server)
    listed, call, message = response.output
    assert (listed.type, listed.server_label, listed.error) == ("mcp_list_tools", "tests", None)
    assert {each.name for each in listed.tools} == {"add", "write", "fail", "calls", "header"}
    assert next(each for each in listed.tools if each.name == "add").input_schema["required"] == ["a", "b"]
    assert (call.type, call.name, call.server_label, call.status) == ("mcp_call", "add", "tests", "completed")
    assert (json.loads(call.arguments), call.output, call.error) == ({"a": 2, "b": 3}, "5", None)
    assert message.type == "message"
    for item, name in ((listed, "MCPListTools"), (call, "MCPToolCall")):
        check(name, item.model_dump(mode="json"))


def test_a_stream_tells_the_list_and_the_call(target: GovernedTarget, server: str) -> None:
    events = list(ask(target.sdk("openai"), server, stream=True))
    assert [each.type.removeprefix("response.") for each in events if "mcp" in each.type] == [
        "mcp_list_tools.in_progress", "mcp_list_tools.completed", "mcp_call.in_progress", "mcp_call_arguments.delta",
        "mcp_call_arguments.done", "mcp_call.completed",
    ]  # fmt: skip


def test_a_conversation_lists_once(target: GovernedTarget, server: str) -> None:
    client = target.sdk("openai")
    first = ask(client, server)
    later = ask(client, server, "calls", {}, previous_response_id=first.id)
    assert [each.type for each in later.output] == ["mcp_call", "message"]


def test_only_what_is_allowed_can_be_called(target: GovernedTarget, server: str) -> None:
    client = target.sdk("openai")
    for allowed in (["add"], {"tool_names": ["add"]}, {"read_only": True}):
        response = ask(client, server, "write", {"text": "x"}, tool={"allowed_tools": allowed})
        assert [each.name for each in response.output[0].tools] == ["add"]
        assert [each.type for each in response.output] == ["mcp_list_tools", "message"]


def test_what_goes_wrong_is_told(target: GovernedTarget, server: str) -> None:
    client = target.sdk("openai")
    call = ask(client, server, "fail", {}).output[1]
    assert (call.status, call.error.type) == ("failed", "mcp_tool_execution_error")
    assert call.error.content[0]["text"] == "Error executing tool fail"
    wrong = ask(client, server, "add", {"a": "x"}).output[1]
    assert wrong.status == "failed"


@pytest.mark.parametrize("approve", [True, False])
def test_approval_goes_round_through_previous_response_id(
    target: GovernedTarget, server: str, approve: bool, dialect: str
) -> None:
    client = target.sdk(dialect)
    tool = {"require_approval": {"never": {"tool_names": ["add"]}}}
    first = ask(client, server, "write", {"text": "by consent"}, tool=tool)
    asked = first.output[-1]
    assert (asked.type, asked.name, asked.server_label) == ("mcp_approval_request", "write", "tests")
    assert json.loads(asked.arguments) == {"text": "by consent"}
    check("MCPApprovalRequest", asked.model_dump(mode="json"))
    answer = [{"type": "mcp_approval_response", "approve": approve, "approval_request_id": asked.id}]
    later = ask(client, server, input=answer, previous_response_id=first.id, tool=tool)
    if not approve:
        assert [each.type for each in later.output] == ["message"]
        return
    call, _ = later.output
    assert (call.output, call.approval_request_id) == ("Written: by consent", asked.id)
    again = ask(client, server, input="And now?", previous_response_id=later.id, tool=tool)
    assert [each.type for each in again.output] == ["message"], "what was approved is carried out once"
    free = ask(client, server, tool=tool)
    assert free.output[1].type == "mcp_call"


def test_secrets_go_to_the_server_and_nowhere_else(target: GovernedTarget, server: str) -> None:
    client = target.sdk("openai")
    tool = {"headers": {"x-secret": SECRET}, "authorization": SECRET}
    response = ask(client, server, "header", {"name": "x-secret"}, tool=tool)
    assert response.output[1].output == SECRET
    bearer = ask(client, server, "header", {"name": "authorization"}, tool=tool)
    assert bearer.output[1].output == f"Bearer {SECRET}"
    silent = ask(client, server, "add", tool={"headers": {"x-secret": f"other-{SECRET}"}})
    assert SECRET not in silent.model_dump_json()
    assert f"other-{SECRET}" not in client.responses.retrieve(silent.id).model_dump_json()
    with pytest.raises(Exception, match="background"):
        ask(client, server, tool=tool, background=True)
    for path in target.home.rglob("*"):
        if path.is_file():
            assert f"other-{SECRET}".encode() not in path.read_bytes(), f"it was written to {path.name}"


@pytest.mark.parametrize(
    ("tool", "param", "says"),
    [
        ({"server_url": "http://localhost:1/mcp"}, "tools", "tools.private_hosts"),
        ({"server_url": "http://127.0.0.1:1/mcp"}, "tools", "reached"),
        ({"server_url": "http://[::ffff:10.0.0.1]/mcp"}, "tools", "tools.private_hosts"),
        ({"server_url": "http://169.254.169.254/latest"}, "tools", "tools.private_hosts"),
        ({"server_url": "ftp://example.com"}, "tools[0].server_url", ""),
        ({"server_url": None}, "tools[0].server_url", "Missing"),
        ({"connector_id": "connector_gmail"}, "tools[0].connector_id", ""),
        ({"headers": {"Host": "x"}}, "tools[0].headers", "Host"),
        ({"server_label": "a b"}, "tools[0].server_label", ""),
    ],
)
def test_what_cannot_be_is_refused_and_named(
    target: GovernedTarget, tool: dict[str, Any], param: str, says: str
) -> None:
    given = {"type": "mcp", "server_label": "x", "server_url": "http://127.0.0.1:1/mcp", **tool}
    answer = target.post({"input": "x", "tools": [given]}, "responses")
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert says in answer.json()["error"]["message"]


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_the_round_of_approval_with_the_npm_package(
    target: GovernedTarget, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER", server)
    seen = run([str(NODE), str(FOLDER / "mcp.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        assert found == {"first": ["mcp_list_tools", "mcp_approval_request"], "later": ["mcp_call", "message"],
                         "output": "Written: from node"}  # fmt: skip
