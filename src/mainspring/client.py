"""A small client of the HTTP API: what the command line and the products use, and nothing of the server's code.

It asks for one model's answer, streamed, moves files, looks after jobs and batches, and turns error bodies back into
`core.errors`. Programs that need more use the official `openai` package against the same server.
"""

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import httpx

from mainspring.core import errors

__all__ = ["PART_BYTES", "Client"]

PART_BYTES = 64 * 2**20
"""Of an upload in parts: the most that one may have."""
PART_TRIES = 4

_BY_STATUS: dict[int, type[errors.MainspringError]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    408: errors.DeadlineExceeded,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
    429: errors.Overloaded,
    503: errors.Unavailable,
    507: errors.StorageFull,
}

_Json = dict[str, Any]


class Client:
    """Talks to the server at `base_url` (with or without its `/v1`) with the API key `key`.

    Every method raises the `core.errors` exception that the server's answer stands for, `UserMistake` if no server
    answers, and `Unavailable` if an answer breaks off.
    """

    def __init__(
        self, base_url: str, key: str | None, *, timeout_s: float = 600.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        root = base_url.rstrip("/").removesuffix("/v1")
        self.base_url = f"{root}/v1"
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # The time-out is that of one read: a long answer may take longer as long as it goes on.
        timeout = httpx.Timeout(timeout_s, connect=10.0)
        self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[_Json]:
        """The deployments, as `GET /v1/models` lists them."""
        with self._failures():
            answer = self._http.get("/models")
            _check(answer)
            return cast("list[_Json]", _object(answer.content)["data"])

    def chat(self, model: str, messages: Sequence[Mapping[str, str]], **options: Any) -> Iterator[str]:
        """The answer to `messages`, in pieces as they arrive. `options` are the API's own, such as `temperature`."""
        body = {"model": model, "messages": list(messages), **options}
        for choice in self._stream("/chat/completions", body):
            yield choice.get("delta", {}).get("content") or ""

    def complete(self, model: str, prompt: str, **options: Any) -> Iterator[str]:
        """The continuation of `prompt`, in pieces as they arrive."""
        for choice in self._stream("/completions", {"model": model, "prompt": prompt, **options}):
            yield choice.get("text") or ""

    def upload(self, name: str, file: BinaryIO, purpose: str, expires_s: int | None = None) -> _Json:
        """Upload a file, which is read while it is sent; what `POST /v1/files` answers."""
        fields = {"purpose": purpose}
        if expires_s is not None:
            fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(expires_s)}
        return self._post("/files", data=fields, files={"file": (name, file)})

    def upload_in_parts(
        self, name: str, file: BinaryIO, size: int, purpose: str, expires_s: int | None = None, *, mime_type: str
    ) -> _Json:
        """Upload a file of `size` bytes in parts, one of which is in memory; the file that `POST /v1/files` would have
        answered. A part that does not arrive is sent again. Nothing stays on the server if this raises."""
        body: _Json = {"filename": name, "purpose": purpose, "bytes": size, "mime_type": mime_type}
        if expires_s is not None:
            body["expires_after"] = {"anchor": "created_at", "seconds": expires_s}
        folder = f"/uploads/{quote(self._post('/uploads', json=body)['id'], safe='')}"
        try:
            parts, digest = list[str](), hashlib.md5(usedforsecurity=False)
            while data := file.read(PART_BYTES):
                digest.update(data)
                parts.append(self._part(f"{folder}/parts", data))
            done = self._post(f"{folder}/complete", json={"part_ids": parts, "md5": digest.hexdigest()})
        except BaseException:
            with suppress(errors.MainspringError):
                self._post(f"{folder}/cancel")
            raise
        return cast("_Json", done["file"])

    def _part(self, path: str, data: bytes) -> str:
        for left in reversed(range(PART_TRIES)):
            try:
                return str(self._post(path, files={"data": data})["id"])
            except (errors.Unavailable, errors.DeadlineExceeded):
                if not left:
                    raise
        raise AssertionError

    def _post(self, path: str, **body: Any) -> _Json:
        with self._failures():
            answer = self._http.post(path, **body)
            _check(answer)
            return _object(answer.content)

    def files(self, purpose: str | None = None) -> Iterator[_Json]:
        """The files of the project, the newest first."""
        query = {"limit": "1000", **({"purpose": purpose} if purpose else {})}
        while True:
            with self._failures():
                answer = self._http.get("/files", params=query)
                _check(answer)
                page = _object(answer.content)
            yield from cast("list[_Json]", page["data"])
            if not page["has_more"]:
                return
            query["after"] = page["last_id"]

    def file(self, file_id: str) -> _Json:
        """One file."""
        with self._failures():
            answer = self._http.get(f"/files/{quote(file_id, safe='')}")
            _check(answer)
            return _object(answer.content)

    def file_content(self, file_id: str) -> Iterator[bytes]:
        """The bytes of a file, in pieces as they arrive."""
        with self._failures(), self._http.stream("GET", f"/files/{quote(file_id, safe='')}/content") as answer:
            if answer.status_code != 200:
                answer.read()
            _check(answer)
            yield from answer.iter_bytes()

    def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        with self._failures():
            _check(self._http.delete(f"/files/{quote(file_id, safe='')}"))

    def create_job(self, **fields: Any) -> _Json:
        """A fine-tuning job; `fields` are those of `POST /v1/fine_tuning/jobs`."""
        return self._post("/fine_tuning/jobs", json=fields)

    def jobs(self) -> Iterator[_Json]:
        """The fine-tuning jobs of the project, the newest first."""
        return self.pages("/fine_tuning/jobs")

    def job(self, job_id: str) -> _Json:
        """One fine-tuning job."""
        return self._job("GET", job_id)

    def turn_job(self, job_id: str, verb: str) -> _Json:
        """Pause, resume or cancel a fine-tuning job; how it is then."""
        return self._job("POST", job_id, f"/{verb}")

    def job_events(self, job_id: str) -> Iterator[_Json]:
        """What happened to a fine-tuning job, the newest first."""
        return self.pages(f"/fine_tuning/jobs/{quote(job_id, safe='')}/events")

    def job_checkpoints(self, job_id: str) -> Iterator[_Json]:
        """What came out of a fine-tuning job, the newest first."""
        return self.pages(f"/fine_tuning/jobs/{quote(job_id, safe='')}/checkpoints")

    def create_batch(self, **fields: Any) -> _Json:
        """A batch; `fields` are those of `POST /v1/batches`."""
        return self._post("/batches", json=fields)

    def batches(self) -> Iterator[_Json]:
        """The batches of the project, the newest first."""
        return self.pages("/batches")

    def batch(self, batch_id: str) -> _Json:
        """One batch."""
        return self.ask("GET", f"/batches/{quote(batch_id, safe='')}")

    def cancel_batch(self, batch_id: str) -> _Json:
        """End a batch early; how it is then."""
        return self.ask("POST", f"/batches/{quote(batch_id, safe='')}/cancel")

    def _job(self, method: str, job_id: str, rest: str = "") -> _Json:
        return self.ask(method, f"/fine_tuning/jobs/{quote(job_id, safe='')}{rest}")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> _Json:
        """What an operation that has no method of its own here answers; `path` is quoted, and below /v1."""
        with self._failures():
            answer = self._http.request(method, path, json=body)
            _check(answer)
            return _object(answer.content)

    def pages(self, path: str, **wanted: str) -> Iterator[_Json]:
        """What an operation lists in pages, all of it; `wanted` are parameters of its query."""
        query = {"limit": "100", **wanted}
        while True:
            with self._failures():
                answer = self._http.get(path, params=query)
                _check(answer)
                page = _object(answer.content)
            found = cast("list[_Json]", page["data"])
            yield from found
            if not page["has_more"]:
                return
            query["after"] = found[-1]["id"]

    def _stream(self, path: str, body: Mapping[str, Any]) -> Iterator[_Json]:
        """The choices in the chunks of a stream, which is not whole without its `[DONE]`."""
        with self._failures(), self._http.stream("POST", path, json={**body, "stream": True}) as answer:
            if answer.status_code != 200:
                answer.read()
            _check(answer)
            for line in answer.iter_lines():
                field, _, data = line.partition(":")
                if field != "data" or not data.strip():
                    continue
                if data.strip() == "[DONE]":
                    return
                chunk = _object(data)
                if chunk.get("error"):
                    raise _error(500, chunk, None)
                yield from chunk.get("choices", [])
        raise errors.Unavailable("The answer broke off: ask again.")

    @contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise errors.UserMistake(
                f"No server answers at {self.base_url}: start it with `mainspring up`, or name another with --base-url."
            ) from error
        except httpx.TimeoutException as error:
            raise errors.DeadlineExceeded("The server took too long to answer: try again.") from error
        except httpx.HTTPError as error:
            raise errors.Unavailable(f"The connection broke off ({type(error).__name__}): ask again.") from error


def _check(answer: httpx.Response) -> None:
    if answer.status_code != 200:
        try:
            body = _object(answer.content)
        except errors.UserMistake:
            body = {}
        raise _error(answer.status_code, body, answer.headers.get("retry-after-ms"))


def _object(data: bytes | str) -> _Json:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise errors.UserMistake("What answers is not an OpenAI-compatible server: check --base-url.")
    return cast("_Json", value)


def _error(status: int, body: _Json, retry_after_ms: str | None) -> errors.MainspringError:
    """The exception that an error body stands for; an error inside a stream carries its status in its code only."""
    found = body.get("error")
    error: _Json = cast("_Json", found) if isinstance(found, dict) else {}
    code, message = error.get("code"), error.get("message") or f"The server answered {status}."
    kind = _BY_STATUS.get(status, errors.MainspringError)
    for special in (errors.ModelNotFound, errors.ContextLengthExceeded, errors.Unavailable, errors.DeadlineExceeded):
        if code == special.default_code:
            kind = special
    wait_s = float(retry_after_ms) / 1000 if retry_after_ms and retry_after_ms.isdigit() else None
    return kind(
        str(message),
        code=str(code) if code else None,
        param=cast("str | None", error.get("param")),
        retry_after_s=wait_s,
    )
