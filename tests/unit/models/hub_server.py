"""A hub on loopback that can be told to break off, to ignore ranges, and to send something else."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """Files of one repository, `org/repo`, and what was asked for them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.claimed = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        self.blobs: dict[str, str] = {}  # git's hash, where it is not that of the content
        self.break_after: list[int | None] = []  # for each answer in turn, how many bytes are sent
        self.ranges = True
        self.token: str | None = None
        self.requests: list[tuple[str, str | None, str | None]] = []  # path, range, authorization
        self.url = ""

    def listing(self) -> bytes:
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": self.blobs.get(name) or git_hash(data)}
            | ({} if name.endswith(".json") else {"lfs": {"sha256": self.claimed[name], "size": len(data)}})
            for name, data in self.files.items()
        ]
        siblings.append({"rfilename": "README.md", "size": 3})  # type: ignore[arg-type]
        return json.dumps({"sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}}).encode()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("range")
        path = handler.path.partition("?")[0]
        self.requests.append((path, asked, handler.headers.get("authorization")))
        if self.token and handler.headers.get("authorization") != f"Bearer {self.token}":
            return self.send(handler, 401, b"")
        if path == "/api/models/org/repo/revision/main":
            return self.send(handler, 200, self.listing())
        prefix = f"/org/repo/resolve/{COMMIT}/"
        data = self.files.get(path.removeprefix(prefix)) if path.startswith(prefix) else None
        if data is None:
            return self.send(handler, 404, b"")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        most = self.break_after.pop(0) if self.break_after else None
        head = {"content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        return self.send(handler, 206 if start else 200, data[start:], head, most)

    def send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        body: bytes,
        head: dict[str, str] | None = None,
        most: int | None = None,
    ) -> None:
        handler.send_response(status)
        for name, value in {**(head or {}), "content-length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[:most])
        handler.close_connection = True


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
