"""Uploads in parts through both official packages and plain HTTP, in every dialect."""

import asyncio
import hashlib
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mainspring.api.openai import uploads as module
from mainspring.core.config import ServerSettings
from mainspring.store import uploads
from tests.contract.observed import run
from tests.contract.spec import check
from tests.contract.target import DIALECTS, GovernedTarget, governed, in_catalog
from tests.contract.test_files import process
from tests.contract.test_fine_tuning import until
from tests.contract.test_node import FOLDER, NODE, PACKAGE
from tests.s3 import S3
from tests.unit.train.installation import examples

MAX_BYTES = 32 * 2**20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def target(home: Path) -> Generator[GovernedTarget]:
    limits = ServerSettings(max_upload_bytes=MAX_BYTES, max_file_bytes=2**20)  # type: ignore[call-arg]
    with governed(home, server=limits) as found:
        yield found


@pytest.fixture
def client(target: GovernedTarget) -> Generator[httpx.Client]:
    with target.http() as found:
        yield found


def kept(home: Path) -> set[Path]:
    return {path for path in (home / "blobs").rglob("*") if path.is_file()}


def begin(client: httpx.Client, num_bytes: int, **more: Any) -> str:
    body = {"filename": "a.bin", "purpose": "user_data", "bytes": num_bytes, "mime_type": "application/pdf", **more}
    answer = client.post("/v1/uploads", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def part(client: httpx.Client, upload: str, data: bytes) -> Any:
    answer = client.post(f"/v1/uploads/{upload}/parts", files={"data": data})
    return answer.json()["id"] if answer.status_code == 200 else answer


def complete(client: httpx.Client, upload: str, *parts: str, **more: Any) -> httpx.Response:
    return client.post(f"/v1/uploads/{upload}/complete", json={"part_ids": parts, **more})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_38_parts_in_any_order_become_the_same_bytes(target: GovernedTarget, home: Path, dialect: str) -> None:
    """Larger than what /files takes at once."""
    sdk, data, before = target.sdk(dialect), [os.urandom(2**20), os.urandom(7), os.urandom(2**19)], kept(home)
    whole = b"".join(data)
    upload = sdk.uploads.create(
        filename="photo ü.png", purpose="vision", bytes=len(whole), mime_type="image/png",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )  # fmt: skip
    check("Upload", upload.model_dump(exclude_unset=True))
    assert (upload.object, upload.status, upload.bytes, upload.file) == ("upload", "pending", len(whole), None)
    assert upload.expires_at - upload.created_at == 3600
    assert upload.id.startswith("upload_")
    parts = {at: sdk.uploads.parts.create(upload.id, data=data[at]) for at in (2, 0, 1)}
    check("UploadPart", parts[0].model_dump(exclude_unset=True))
    assert (parts[0].object, parts[0].upload_id, parts[0].id[:5]) == ("upload.part", upload.id, "part_")
    done = sdk.uploads.complete(
        upload.id, part_ids=[parts[at].id for at in range(3)], md5=hashlib.md5(whole).hexdigest()
    )
    check("Upload", done.model_dump(exclude_unset=True))
    assert (done.id, done.status) == (upload.id, "completed")
    assert done.file is not None
    assert (done.file.bytes, done.file.filename, done.file.purpose) == (len(whole), "photo ü.png", "vision")
    assert done.file.expires_at == done.file.created_at + 7200
    assert sdk.files.retrieve(done.file.id) == done.file
    assert sdk.files.content(done.file.id).read() == whole
    sdk.files.delete(done.file.id)
    assert kept(home) == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_38_the_chunking_helper(target: GovernedTarget, tmp_path: Path, dialect: str) -> None:
    sdk, data = target.sdk(dialect), b'{"messages": []}\n' * 5000
    (tmp_path / "train.jsonl").write_bytes(data)
    digest = hashlib.md5(data).hexdigest()
    made = sdk.uploads.upload_file_chunked(
        file=tmp_path / "train.jsonl", mime_type="text/jsonl", purpose="fine-tune", part_size=10_000, md5=digest
    )
    in_memory = sdk.uploads.upload_file_chunked(
        file=data, filename="b.jsonl", bytes=len(data), mime_type="text/jsonl", purpose="batch"
    )
    empty = sdk.uploads.upload_file_chunked(
        file=b"", filename="c", bytes=0, mime_type="text/plain", purpose="user_data"
    )
    for each, name in ((made, "train.jsonl"), (in_memory, "b.jsonl")):
        assert each.file is not None
        assert (each.status, each.file.filename, each.file.bytes) == ("completed", name, len(data))
        assert sdk.files.content(each.file.id).read() == data
    assert in_memory.file is not None
    if dialect == "openai":
        assert in_memory.file.expires_at == in_memory.file.created_at + 30 * 86_400
    else:
        assert in_memory.file.expires_at is None
    assert empty.file is not None
    assert empty.file.bytes == 0


def test_item_38_the_asynchronous_helper(target: GovernedTarget) -> None:
    data = os.urandom(100_000)

    async def work() -> Any:
        async with target.async_sdk("openai") as sdk:
            made = await sdk.uploads.upload_file_chunked(
                file=data, filename="a.bin", bytes=len(data), mime_type="application/pdf", purpose="user_data",
                part_size=30_000,
            )  # fmt: skip
            assert made.file is not None
            return (await sdk.files.content(made.file.id)).content

    assert asyncio.run(work()) == data


@pytest.fixture(scope="module")
def seen(target: GovernedTarget) -> dict[str, Any]:
    return run([str(NODE), str(FOLDER / "uploads.mjs")], target)


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
@pytest.mark.parametrize("name", ["openai", "azure", "azure_v1"])
def test_item_38_with_the_npm_package(seen: dict[str, Any], name: str) -> None:
    found = seen[name]
    for each in ("begun", "completed", "cancelled"):
        check("Upload", found[each])
    check("UploadPart", found["part"])
    assert [found[each]["status"] for each in ("begun", "completed", "cancelled")] == [
        "pending", "completed", "cancelled",
    ]  # fmt: skip
    assert found["content"] == "abcdef"
    assert found["completed"]["file"]["expires_at"] - found["completed"]["file"]["created_at"] == 7200
    for each, code in (
        ("short", "bytes_mismatch"), ("wrong", "md5_mismatch"), ("twice", "upload_not_pending"),
        ("after", "upload_not_pending"),
    ):  # fmt: skip
        assert found[each]["kind"] == "BadRequestError"
        assert found[each]["status"] == 400
        assert found[each]["code"] in (code, None), "Azure's clients do not show it"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_item_53_files_are_listed_to_their_end(target: GovernedTarget, dialect: str) -> None:
    project = f"listed-{dialect.replace('_', '-')}"
    target.run(target.control.projects.put(project))
    sdk = target.sdk(dialect, target.make_key(project=project))
    made = [sdk.files.create(file=(str(at), b"x"), purpose="user_data").id for at in range(7)]
    for limit in (1, 3, 7, 100):
        assert [each.id for each in sdk.files.list(limit=limit, order="asc")] == made
        assert [each.id for each in sdk.files.list(limit=limit)] == made[::-1]
    page = sdk.files.list(limit=3, order="asc", after=made[1])
    assert ([each.id for each in page.data], page.has_more) == (made[2:5], True)
    assert ([each.id for each in page.get_next_page().data], page.get_next_page().has_more) == (made[5:], False)


def test_no_project_sees_another_s(target: GovernedTarget, client: httpx.Client) -> None:
    target.run(target.control.projects.put("other"))
    upload = begin(client, 1)
    mine = part(client, upload, b"x")
    with target.http(target.make_key(project="other")) as other:
        theirs = begin(other, 1)
        of_theirs = part(other, theirs, b"x")
        for answer in (
            part(other, upload, b"x"), complete(other, upload, mine), other.post(f"/v1/uploads/{upload}/cancel"),
        ):  # fmt: skip
            assert (answer.status_code, answer.json()["error"]["param"]) == (404, "upload_id")
            assert f"No such Upload object: {upload}" in answer.json()["error"]["message"]
        answer = complete(other, theirs, mine)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "part_not_found")
    answer = complete(client, upload, of_theirs)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "part_ids[0]")
    assert complete(client, upload, mine).status_code == 200
    answer = complete(client, upload, mine)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "upload_not_pending")
    assert "It is the file file-" in answer.json()["error"]["message"]


def test_who_may_only_read_uploads_nothing(target: GovernedTarget) -> None:
    with target.http(target.make_key(role="reader")) as reader:
        assert reader.post("/v1/uploads", json={}).status_code == 403


def test_bodies_that_are_refused(client: httpx.Client, home: Path) -> None:
    good = {"filename": "a", "purpose": "batch", "bytes": 1, "mime_type": "text/jsonl"}
    for change, param in (
        ({"bytes": MAX_BYTES + 1}, "bytes"), ({"bytes": -1}, "bytes"), ({"bytes": "1"}, "bytes"),
        ({"filename": ""}, "filename"), ({"purpose": "batch_output"}, "purpose"),
        ({"mime_type": "video/mp4"}, "mime_type"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"), ({"model": "x"}, "model"),
    ):  # fmt: skip
        answer = client.post("/v1/uploads", json={**good, **change})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    upload, before = begin(client, 1), kept(home)
    for files, param in (
        ([("file", ("x", b"x"))], "file"), ([("data", ("x", b"x")), ("data", ("x", b"x"))], "data"),
        ([("data", ("x", b"x")), ("purpose", (None, "batch"))], "purpose"),
    ):  # fmt: skip
        answer = client.post(f"/v1/uploads/{upload}/parts", files=files)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post(f"/v1/uploads/{upload}/parts", content=b"--b--\r\n", headers=kind)
    assert answer.status_code == 400
    assert kept(home) == before
    for body, param in (({}, "part_ids"), ({"part_ids": [], "md5": "x"}, "md5"), ({"part_ids": [1]}, "part_ids[0]")):
        answer = client.post(f"/v1/uploads/{upload}/complete", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_part_that_is_too_large_leaves_nothing(
    client: httpx.Client, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, before = begin(client, 2 * 2**20), kept(home)
    for target in (uploads, module):
        monkeypatch.setattr(target, "MAX_PART_BYTES", 2**20)
    for size in (2**20 + 1, 3 * 2**20):
        answer = part(client, upload, bytes(size))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
    assert kept(home) == before


def test_a_broken_line_is_named_and_the_upload_stays(client: httpx.Client) -> None:
    upload = begin(client, 10, purpose="evals", mime_type="application/jsonl")
    bad, good = part(client, upload, b'{"a": 1}\n{'), part(client, upload, b'{"a": 1}\n\n')
    answer = complete(client, upload, bad)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_jsonl")
    assert "line 2" in answer.json()["error"]["message"]
    assert complete(client, upload, good).json()["status"] == "completed"


@pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")
def test_memory_does_not_grow_with_parts(tmp_path: Path) -> None:
    """The peak of the whole process, after a small upload has loaded what uploads need. Two parts of 48 MiB each."""

    def peak(pid: int) -> int:
        [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    line = b'{"messages": [{"role": "user", "content": "%s"}]}\n' % (b"x" * 1000)

    def send(client: httpx.Client, data: bytes) -> None:
        upload = begin(client, 2 * len(data), purpose="fine-tune", mime_type="text/jsonl")
        parts = [part(client, upload, data) for _ in range(2)]
        done = complete(client, upload, *parts, md5=hashlib.md5(data * 2).hexdigest()).json()
        with client.stream("GET", f"/v1/files/{done['file']['id']}/content") as answer:
            assert sum(map(len, answer.iter_bytes())) == 2 * len(data)

    with (
        process(tmp_path) as (running, said),
        httpx.Client(base_url=said["base_url"], headers={"api-key": said["key"]}, timeout=120) as client,
    ):
        send(client, line * 3000)
        before = peak(running.pid)
        send(client, line * (48 * 2**20 // len(line)))
        growth = peak(running.pid) - before
    sys.stdout.write(f"96 MiB in two parts, completed and read: {growth / 1e6:.1f} MB more\n")
    assert growth < 20e6


def test_servers_that_share_a_database_share_files_through_a_bucket(
    tmp_path: Path, postgres_server: Any, s3_server: S3
) -> None:
    """What was uploaded in parts to one and the other is read, completed and deleted at the other."""
    shared = {"database": postgres_server.url(), "blobs": s3_server.settings(), "secret": "the same for both"}
    homes = [tmp_path / name for name in "ab"]
    for home in homes:
        home.mkdir()
    with governed(homes[0], **shared) as one:
        key = one.make_key(role="user")
        with governed(homes[1], **shared) as other, one.http(key) as here, other.http(key) as there:
            upload = begin(here, 8)
            parts = [part(here, upload, b"here"), part(there, upload, b"also")]
            file = complete(there, upload, *parts).json()["file"]["id"]
            assert here.get(f"/v1/files/{file}/content").content == b"herealso"
            assert here.get(f"/v1/files/{file}").json()["bytes"] == 8
            assert there.delete(f"/v1/files/{file}").json()["deleted"]
            assert here.get(f"/v1/files/{file}/content").status_code == 404
    assert s3_server.keys(shared["blobs"]) == set()
    assert not [path for home in homes for path in home.rglob("blobs*/**/*") if path.is_file()]


def test_a_job_trains_on_what_was_uploaded_in_parts_into_a_bucket(tmp_path: Path, s3_server: S3) -> None:
    """Its process has a copy of its own, and what it makes is in the bucket too."""
    in_catalog(tmp_path, "tiny", "abc")
    data = examples()
    with governed(tmp_path, blobs=s3_server.settings()) as target:
        sdk = target.sdk("openai")
        made = sdk.uploads.upload_file_chunked(
            file=data, filename="train.jsonl", bytes=len(data), mime_type="text/jsonl", purpose="fine-tune",
            part_size=len(data) // 2,
        )  # fmt: skip
        assert made.file is not None
        job = sdk.fine_tuning.jobs.create(model="tiny", training_file=made.file.id)
        done, _ = until(sdk, job.id)
        assert done.status == "succeeded", done.error
        [results] = done.result_files
        assert sdk.files.content(results).text.startswith("step,")
    assert not (tmp_path / "blobs").exists()
