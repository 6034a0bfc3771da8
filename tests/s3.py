"""An S3 server of the tests' own: moto's, in a process of its own and from an environment of its own, on a free port.
What it holds is in its memory. scripts/test installs it."""

import contextlib
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path

from mainspring.core.config_blobs import BlobSettings

ENVIRONMENT = Path(__file__).parents[1] / ".cache" / "moto"
SERVER = ENVIRONMENT / "bin" / "moto_server"


class S3:
    """A running server, which may be stopped and asked what is there."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [SERVER, "-H", "127.0.0.1", "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(3000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.1)
        self.stop()
        raise AssertionError("the S3 server did not start")

    def settings(self, **more: int) -> BlobSettings:
        """A new, empty bucket, and a prefix in it."""
        bucket = f"b{secrets.token_hex(6)}"
        self._ask("PUT", f"/{bucket}")
        return BlobSettings(
            url=f"s3://{bucket}/kept/here", endpoint=self.endpoint, region="us-east-1", access_key_id="test",
            secret_access_key="test", **more,
        )  # fmt: skip

    def get(self, settings: BlobSettings, key: str) -> bytes | None:
        """An object, as anybody who may read the bucket sees it."""
        try:
            return self._ask("GET", f"/{settings.url.removeprefix('s3://')}/{key}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def keys(self, settings: BlobSettings) -> set[str]:
        """The names of all objects, without the prefix."""
        bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
        listed = self._ask("GET", f"/{bucket}?list-type=2&prefix={prefix}/").decode()
        return {each.partition("</Key>")[0].removeprefix(f"{prefix}/") for each in listed.split("<Key>")[1:]}

    def unfinished(self, settings: BlobSettings) -> int:
        """How many multipart uploads have neither ended nor been given up."""
        bucket = settings.url.removeprefix("s3://").partition("/")[0]
        return self._ask("GET", f"/{bucket}?uploads").decode().count("<UploadId>")

    def put(self, settings: BlobSettings, key: str, data: bytes) -> None:
        """Write an object past whoever else does."""
        self._ask("PUT", f"/{settings.url.removeprefix('s3://')}/{key}", data)

    def _ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        signed = {"authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}
        request = urllib.request.Request(self.endpoint + path, data=data, method=method, headers=signed)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def running() -> Generator[S3 | None]:
    """A server; None if it is not installed."""
    if not SERVER.exists():
        yield None
        return
    server = S3()
    try:
        yield server
    finally:
        server.stop()
