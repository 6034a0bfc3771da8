"""Files through both official packages and plain HTTP: what was uploaded comes back, and nothing of what was not."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from mainspring import wiring
from mainspring.api import multipart
from mainspring.api.openai import files as module
from mainspring.core.config import ServerSettings, Settings
from mainspring.models.catalog import Catalog
from mainspring.store import blobs
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import DIALECTS, GovernedTarget, Served, governed
from tests.contract.test_node import FOLDER, NODE, PACKAGE

MAX_BYTES = 4 * 2**20
LINES = b'{"messages": []}\n{"messages": [1]}\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def target(home: Path) -> Generator[GovernedTarget]:
    with governed(home, server=ServerSettings(max_file_bytes=MAX_BYTES, max_body_bytes=2**16)) as found:  # type: ignore[call-arg]
        yield found


@pytest.fixture
def client(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http() as found:
        yield found


def kept(home: Path) -> set[Path]:
    return {path for path in (home / "blobs").rglob("*") if path.is_file()}


def upload(client: httpx.Client, data: bytes, purpose: str = "user_data", name: str = "a.bin", **fields: str) -> Any:
    answer = client.post("/v1/files", data={"purpose": purpose, **fields}, files={"file": (name, data)})
    return answer.json() if answer.status_code == 200 else answer


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff" * 5, os.urandom(3 * 2**20 + 7), b"\r\n--boundary\r\n" * 1000], ids=len
)
def test_item_38_the_same_bytes_come_back_and_deleted_is_gone(
    target: GovernedTarget, home: Path, dialect: str, data: bytes
) -> None:
    files, before = target.sdk(dialect).files, kept(home)
    made = files.create(file=("photo ü.png", data), purpose="user_data")
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", len(data), "photo ü.png", "user_data")
    assert (made.status, made.expires_at) == ("processed", None)
    check("OpenAIFile", made.model_dump(exclude_unset=True))
    assert files.retrieve(made.id) == made
    assert files.wait_for_processing(made.id) == made
    content = files.content(made.id)
    assert content.read() == data
    assert content.response.headers["content-type"] == "image/png"
    assert content.response.headers["content-disposition"] == (
        "attachment; filename=\"photo _.png\"; filename*=UTF-8''photo%20%C3%BC.png"
    )
    gone = files.delete(made.id)
    check("DeleteFileResponse", gone.model_dump())
    for call in (files.retrieve, files.content, files.delete):
        with pytest.raises(openai.NotFoundError) as error:
            call(made.id)
        assert f"No such File object: {made.id}" in error.value.message
    assert made.id not in [each.id for each in files.list()]
    assert kept(home) == before


@pytest.fixture(scope="module")
def seen(target: GovernedTarget) -> dict[str, Any]:
    return run([str(NODE), str(FOLDER / "files.mjs")], target)


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
@pytest.mark.parametrize("name", ["openai", "azure", "azure_v1"])
def test_item_38_with_the_npm_package(seen: dict[str, Any], name: str) -> None:
    """Its forms have the file before its purpose."""
    found = seen[name]
    check("OpenAIFile", found["made"])
    assert found["made"] == found["retrieved"] == found["waited"]
    assert (found["made"]["filename"], found["made"]["purpose"]) == ("mine.jsonl", "fine-tune")
    assert found["content"] == '{"messages":[]}\n'
    assert found["expires_s"] == 7200
    assert found["deleted"] == {"id": found["made"]["id"], "object": "file", "deleted": True}
    assert found["after"] == {"kind": "NotFoundError", "status": 404}
    assert found["broken"]["kind"] == "BadRequestError"
    assert "line 2" in found["broken"]["message"]
    assert len(set(found["listed"])) == len(found["listed"]) == 5


def test_what_two_files_hold_stays_until_both_are_gone(client: httpx.Client, home: Path) -> None:
    before, data = kept(home), secrets.token_bytes(100)
    first, second = upload(client, data), upload(client, data, name="b.bin")
    (blob,) = kept(home) - before
    assert (blob.read_bytes(), blob.parent.name, blob.parent.parent.name) == (data, blob.name[2:4], blob.name[:2])
    client.delete(f"/v1/files/{first['id']}")
    assert client.get(f"/v1/files/{second['id']}/content").content == data
    client.delete(f"/v1/files/{second['id']}")
    assert kept(home) == before


def test_pages(target: GovernedTarget) -> None:
    key = target.make_key(project="default")
    for each in (files := target.sdk("openai", key).files).list():
        files.delete(each.id)
    made = [files.create(file=(f"{at}", b"x"), purpose="user_data").id for at in range(5)]
    assert [each.id for each in files.list(order="asc", limit=2)] == made
    assert [each.id for each in files.list(limit=2)] == made[::-1]
    page = files.list(limit=2, after=made[3])
    assert [each.id for each in page.data] == [made[2], made[1]]
    assert page.has_more
    assert not files.list(limit=2, after=made[2], order="asc").has_more
    with target.http(key) as client:
        body = client.get("/v1/files", params={"limit": 2}).json()
        check("ListFilesResponse", body)
        assert (body["first_id"], body["last_id"]) == (made[4], made[3])
        assert client.get("/v1/files", params={"purpose": "batch"}).json() == {
            "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
        }  # fmt: skip
        for query in ({"limit": "0"}, {"limit": "10001"}, {"limit": "x"}, {"limit": "-1"}, {"order": "up"}):
            answer = client.get("/v1/files", params=query)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))
        assert client.get("/v1/files", params={"after": "file-none"}).status_code == 404


def test_no_project_sees_another_s(target: GovernedTarget, home: Path) -> None:
    target.run(target.control.projects.put("other"))
    here, there = (target.sdk("openai", target.make_key(project=name)).files for name in ("default", "other"))
    made = here.create(file=("a", b"secret of default"), purpose="user_data")
    assert made.id not in [each.id for each in there.list()]
    for call in (there.retrieve, there.content, there.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    with pytest.raises(openai.NotFoundError):
        there.list(after=made.id)
    assert here.content(made.id).read() == b"secret of default"


def test_a_project_s_files_go_with_it(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("brief"))
    target.sdk("openai", target.make_key(project="brief")).files.create(file=("a", b"mine"), purpose="user_data")
    target.run(target.control.projects.remove("brief"))
    target.run(target.control.projects.put("brief"))
    assert not target.sdk("openai", target.make_key(project="brief")).files.list().data


def test_what_is_too_large_is_refused(client: httpx.Client, home: Path) -> None:
    before = kept(home)
    assert upload(client, bytes(MAX_BYTES))["bytes"] == MAX_BYTES, "max_body_bytes is not for files"
    whole = kept(home)

    def trickled(size: int) -> Iterator[bytes]:
        """Without a content-length."""
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(size // 2**16):
            yield bytes(2**16)
        yield b"\r\n--b--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=b"}
    for answer in (
        upload(client, bytes(MAX_BYTES + 1)),
        upload(client, bytes(MAX_BYTES + 2**21)),
        client.post("/v1/files", content=trickled(MAX_BYTES + 2**16), headers=kind),
        client.post("/v1/files", content=trickled(MAX_BYTES + 2**22), headers=kind),
    ):
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "payload_too_large"
    assert kept(home) == whole
    assert len(whole - before) == 1


BROKEN = [
    (b'{"a": 1}\n{"a": 1\n{"a": 1}\n', "line 2 is not valid JSON"),
    (b'{"a": 1}\n\n[1]\n', "line 3 is not a JSON object"),
    (b'{"a": 1}\n{"a": "\xe4"}', "line 2 is not UTF-8 (at its byte 8)"),
    (b'{"a": 1}\r\nnull\r\n', "line 2 is not a JSON object"),
    (b"\x89PNG" + bytes(2**21), "line 1 is not a JSON object"),
    (b'{"a": ' * 2000, "line 1 is nested too deeply"),
    (b'{"a": 1} {"a": 1}', "line 1 is not valid JSON"),
    (b'{"a": NaN}', "line 1 is not valid JSON"),
]


@pytest.mark.parametrize("purpose", ["fine-tune", "batch", "evals"])
@pytest.mark.parametrize("is_first", [True, False], ids=["purpose-first", "file-first"])
@pytest.mark.parametrize(("data", "said"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_line_is_named(
    client: httpx.Client, home: Path, purpose: str, is_first: bool, data: bytes, said: str
) -> None:
    before = kept(home)
    fields = [("purpose", (None, purpose)), ("file", ("x.jsonl", data))]
    answer = client.post("/v1/files", files=fields if is_first else fields[::-1])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_jsonl", "file")
    assert said in error["message"]
    assert kept(home) == before


def test_json_lines_as_editors_write_them_are_taken(client: httpx.Client) -> None:
    for data in (LINES, LINES[:-1], b"\xef\xbb\xbf" + LINES, LINES.replace(b"\n", b"\r\n\r\n"), b"\n\n" + LINES):
        made = upload(client, data, "fine-tune", "x.jsonl")
        content = client.get(f"/v1/files/{made['id']}/content")
        assert content.content == data
        assert content.headers["content-type"] == "application/jsonl"
    for data in (b"", b"\n \n", b"\xef\xbb\xbf"):
        assert upload(client, data, "batch").json()["error"]["code"] == "empty_file"


def test_expiry(target: GovernedTarget, client: httpx.Client) -> None:
    def expires_s(dialect: str, **more: Any) -> int | None:
        made = target.sdk(dialect).files.create(file=("x", LINES), **more)
        return made.expires_at and made.expires_at - made.created_at

    after: Any = {"anchor": "created_at", "seconds": 3600}
    assert expires_s("openai", purpose="user_data", expires_after=after) == 3600
    assert expires_s("azure", purpose="fine-tune", expires_after=after) == 3600
    assert expires_s("openai", purpose="batch") == 30 * 86_400
    assert expires_s("azure", purpose="batch") is None
    for fields in (
        {"expires_after[seconds]": "3600"},
        {"expires_after[anchor]": "created_at"},
        {"expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "2592001"},
        {"expires_after[anchor]": "created_at", "expires_after[seconds]": "1e5"},
    ):
        answer = upload(client, b"x", **fields)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith("expires_after[")


def test_forms_that_are_none(client: httpx.Client, home: Path) -> None:
    before = kept(home)
    kind = {"content-type": "multipart/form-data; boundary=b"}
    part = b'--b\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    file, purpose, end = part % (b"file", b'; filename="f"', b"x"), part % (b"purpose", b"", b"vision"), b"--b--\r\n"

    def refused(body: bytes, status: int, code: str | None, headers: dict[str, str] = kind) -> None:
        answer = client.post("/v1/files", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text

    refused(b"{}", 415, "unsupported_media_type", {"content-type": "application/json"})
    refused(b"", 415, "unsupported_media_type", {})
    refused(b"", 415, "unsupported_media_type", {"content-type": "multipart/form-data"})
    refused(file + end, 415, "unsupported_media_type", {**kind, "content-encoding": "gzip"})
    refused(b"", 400, "invalid_multipart", {"content-type": f"multipart/form-data; boundary={'b' * 300}"})
    for broken in (
        b"",
        b"nothing",
        file,
        file + purpose,
        file + purpose[:-9],
        b"--b\r\nx\r\n\r\n",
        b"--b\r\n\r\nx\r\n" + end,
    ):
        refused(broken, 400, "invalid_multipart")
    refused(part % (b"x" * 10_000, b"", b"") + end, 400, "invalid_multipart")
    refused(b"--b\r\n" + b"x: y\r\n" * 100 + b"\r\n" + end, 400, "invalid_multipart")
    refused(part % (b"purpose", b"", b"x" * 5000) + end, 400, "invalid_value")
    refused(part % (b"purpose", b"", b"\xff") + end, 400, "invalid_value")
    refused(part % (b"purpose", b"", b"batch_output") + file + end, 400, "invalid_value")
    refused(purpose + purpose + file + end, 400, "invalid_value")
    refused(purpose + file + file + end, 400, "invalid_value")
    refused(part % (b"model", b"", b"x") + end, 400, "unknown_parameter")
    refused(purpose + end, 400, "missing_required_parameter")
    refused(file + end, 400, "missing_required_parameter")
    assert kept(home) == before
    assert client.post("/v1/files", content=file + purpose + end + b"epilogue", headers=kind).status_code == 200


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\a.jsonl", "a.jsonl"),
        ('say "hi"\r\nx: y.txt', 'say "hi"x: y.txt'),
        ("", "file"),
        ("..", "file"),
        ("a\x00b\u202e.txt", "ab.txt"),
        ("ü€𝄞.txt", "ü€𝄞.txt"),
        ("n" * 300 + ".jsonl", "n" * 249 + ".jsonl"),
    ],
)
def test_names_of_files_are_only_names(client: httpx.Client, sent: str, named: str) -> None:
    escaped = re.sub('[\r\n"]', lambda found: f"%{ord(found[0]):02X}", sent).encode()
    body = b'--b\r\ncontent-disposition: form-data; name="file"; filename="%s"\r\n\r\nx\r\n' % escaped
    body += b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nvision\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    made = client.post("/v1/files", content=body, headers=headers).json()
    assert made["filename"] == named
    assert client.get(f"/v1/files/{made['id']}/content").content == b"x"
    client.delete(f"/v1/files/{made['id']}")


def head(key: str, length: int) -> bytes:
    return (
        f"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n"
        'content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\ncontent-disposition: form-data; name="file"; '
        'filename="x"\r\n\r\n'
    ).encode()


def wait_for(check: Any) -> None:
    """Until it is so: the server does it in its own time, which is not judged here."""
    end_s = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_client_that_leaves_in_the_middle_leaves_nothing(
    target: GovernedTarget, client: httpx.Client, home: Path
) -> None:
    before, incoming = kept(home), home / "blobs" / blobs.INCOMING
    with socket.create_connection(("127.0.0.1", int(target.base_url.rpartition(":")[2]))) as connection:
        connection.sendall(head(target.key, 3 * 2**20) + bytes(2 * 2**20))
        wait_for(lambda: any(incoming.glob("*.part")))
    wait_for(lambda: not any(incoming.glob("*.part")))
    assert kept(home) == before
    assert client.get("/v1/models").status_code == 200


def test_a_client_that_sends_nothing_is_not_waited_for(
    target: GovernedTarget, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "PIECE_TIMEOUT_S", 0.05)
    before = kept(home)
    with socket.create_connection(("127.0.0.1", int(target.base_url.rpartition(":")[2]))) as connection:
        connection.sendall(head(target.key, 3 * 2**20) + bytes(2**20))
        answer = connection.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"x-should-retry: false" in answer
    assert kept(home) == before


def test_a_full_disk_says_so_and_nothing_is_left(
    target: GovernedTarget, client: httpx.Client, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, free = kept(home), blobs.SPARE_BYTES + 2**21

    class Usage:
        def __init__(self) -> None:
            self.free = free - sum(path.stat().st_size for path in kept(home) - before)

    monkeypatch.setattr(blobs.shutil, "disk_usage", lambda _: Usage())
    answer = upload(client, bytes(3 * 2**20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
    assert answer.headers["x-should-retry"] == "false"
    assert kept(home) == before
    assert client.get("/v1/files").status_code == 200


def test_a_file_whose_content_is_gone_is_a_404(client: httpx.Client, home: Path) -> None:
    before = kept(home)
    made = upload(client, b"soon gone")
    (blob,) = kept(home) - before
    blob.unlink()
    answer = client.get(f"/v1/files/{made['id']}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "content_missing")
    client.delete(f"/v1/files/{made['id']}")


def test_the_document_says_what_an_upload_is(target: GovernedTarget) -> None:
    path = target.app.openapi["paths"]["/v1/files"]
    assert path["post"]["requestBody"]["content"]["multipart/form-data"]["schema"] == module.FORM
    assert {"400", "413", "415", "507"} <= path["post"]["responses"].keys()
    limit = next(each for each in path["get"]["parameters"] if each["name"] == "limit")
    assert limit["schema"]["maximum"] == 10_000


def test_other_bodies_keep_their_limit(client: httpx.Client) -> None:
    assert client.post("/v1/chat/completions", json={"model": "x" * 2**16}).status_code == 413


@contextlib.contextmanager
def process(home: Path) -> Generator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """A server in a process of its own."""
    command = [sys.executable, "-m", "tests.contract.governed_server", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as running:
        try:
            assert running.stdout is not None
            yield running, json.loads(running.stdout.readline())
        finally:
            running.kill()


def test_a_server_that_is_killed_in_the_middle_leaves_neither_row_nor_part(tmp_path: Path) -> None:
    incoming = tmp_path / "blobs" / blobs.INCOMING
    with process(tmp_path) as (running, said):
        with httpx.Client(base_url=said["base_url"], headers={"api-key": said["key"]}) as client:
            whole = upload(client, b"whole")
        address = ("127.0.0.1", int(said["base_url"].rpartition(":")[2]))
        with socket.create_connection(address) as connection:
            connection.sendall(head(said["key"], 3 * 2**20) + bytes(2 * 2**20))
            wait_for(lambda: sum(path.stat().st_size for path in incoming.glob("*.part")) >= 2**20)
            running.kill()
            running.wait()
    assert len([*incoming.glob("*.part")]) == 1

    async def start_again() -> None:
        settings = Settings(home=tmp_path)  # type: ignore[call-arg]
        async with wiring.governed(settings, Served(Catalog(tmp_path / "models"))) as (services, _):
            assert services.files is not None
            [found], _ = await services.files.list("default")
            assert found.id == whole["id"]
            assert [piece async for piece in services.files.open(found)] == [b"whole"]

    asyncio.run(start_again())
    assert not any(incoming.glob("*.part"))


@pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")
def test_memory_does_not_grow_with_what_is_uploaded(tmp_path: Path) -> None:
    """The peak of the whole process, after one upload has loaded what uploads need. 100 MB, both ways: 4 MB more."""

    def peak(pid: int) -> int:
        [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    line = b'{"messages": [{"role": "user", "content": "%s"}]}\n' % (b"x" * 1000)
    num_bytes = int(os.environ.get("MAINSPRING_TEST_UPLOAD_BYTES", 48 * 2**20))
    with process(tmp_path) as (running, said):
        headers = {"api-key": said["key"]}
        with httpx.Client(base_url=said["base_url"], headers=headers, timeout=120) as client:
            for purpose in ("user_data", "fine-tune"):
                upload(client, line * 3000, purpose)
            before = peak(running.pid)
            for purpose in ("user_data", "fine-tune"):
                made = upload(client, line * (num_bytes // len(line)), purpose)
                with client.stream("GET", f"/v1/files/{made['id']}/content") as answer:
                    assert sum(map(len, answer.iter_bytes())) == made["bytes"]
            growth = peak(running.pid) - before
    sys.stdout.write(f"{num_bytes / 1e6:.0f} MB up and down, twice: {growth / 1e6:.1f} MB more\n")
    assert growth < 20e6
