"""files: what is uploaded, and what jobs make. An upload goes to the disk while it is parsed, and never whole into
memory; so the size of a file has a limit of its own and not that of other bodies.

Of training data and batches each line is held to be JSON here; what it has to say is checked by the job that reads it.
"""

import mimetypes
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mainspring.api.context import context_of
from mainspring.api.edge import ClientGone
from mainspring.api.errors import Dialect
from mainspring.api.multipart import Form, Part
from mainspring.api.openai import replies
from mainspring.api.openai.pages import page_of
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.store.files import MAX_LIST, UPLOADED, Arrived, File, Files

__all__ = [
    "FORM_BYTES",
    "ExpiresAfter",
    "FileList",
    "FileObject",
    "FileRemoved",
    "FileRoutes",
    "expires_s",
    "file_operations",
]

FORM_BYTES = 2**20
"""What a form may have beside its file."""
EXPIRES_S = (3600, 2_592_000)
BATCH_EXPIRES_S = 2_592_000
"""OpenAI keeps what was uploaded for a batch for 30 days. Azure keeps it."""
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
FIELDS = ("purpose", ANCHOR, SECONDS)

FORM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": [*UPLOADED]},
        ANCHOR: {"type": "string", "enum": ["created_at"]},
        SECONDS: {"type": "integer", "minimum": EXPIRES_S[0], "maximum": EXPIRES_S[1]},
    },
}
"""The body of an upload."""

_TYPES = mimetypes.MimeTypes(filenames=())  # the same on every machine


class ExpiresAfter(Wire):
    """When a file vanishes."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=EXPIRES_S[0], le=EXPIRES_S[1])]


def expires_s(given_s: int | None, purpose: str, dialect: Dialect) -> int | None:
    """Seconds after which a file vanishes: what was asked for, or what the dialect does unasked."""
    if given_s is None and purpose == "batch" and dialect == "openai":
        return BATCH_EXPIRES_S
    return given_s


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file. Times are in Unix seconds."""

    id: str
    object: str = "file"
    bytes: int
    created_at: int
    expires_at: int | msgspec.UnsetType = msgspec.UNSET
    filename: str
    purpose: str
    status: str

    @classmethod
    def of(cls, file: File) -> "FileObject":
        """From the row below the edge."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=int(file.created),
            expires_at=msgspec.UNSET if file.expires is None else int(file.expires),
            filename=file.filename,
            purpose=file.purpose,
            status=file.status,
        )


class FileList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files; `first_id` and `last_id` are of this page, null if it is empty."""

    object: str = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """That a file is deleted."""

    id: str
    object: str = "file"
    deleted: bool = True


class FileRoutes:
    """The handlers of files in every dialect."""

    def __init__(self, services: Services, files: Files) -> None:
        self._files, self._max_bytes = files, services.max_file_bytes

    async def create(self, http: Request) -> Response:
        """Parse and write at once; then name what was written."""
        context = context_of(http)
        form = Form(http, self._max_bytes + FORM_BYTES)
        upload = _Upload(self._files, self._max_bytes)
        try:
            async with aclosing(form.parts()) as parts:
                async for part in parts:
                    await upload.take(part)
            file = await upload.finish(
                context.project, context.principal.id if context.principal else "", context.dialect
            )
        finally:
            await upload.drop()
        return replies.json(FileObject.of(file))

    async def list(self, http: Request) -> Response:
        """The files of the project."""
        found, has_more = await self._files.list(
            context_of(http).project, purpose=http.query_params.get("purpose"),
            **page_of(http, usual=MAX_LIST, most=MAX_LIST),
        )  # fmt: skip
        ids = [file.id for file in found] or [None]
        return replies.json(
            FileList(data=[FileObject.of(file) for file in found], first_id=ids[0], last_id=ids[-1], has_more=has_more)
        )

    async def retrieve(self, http: Request) -> Response:
        """One file."""
        return replies.json(FileObject.of(await self._find(http)))

    async def content(self, http: Request) -> Response:
        """Its bytes."""
        file = await self._find(http)
        return Content(http, file, self._files.open(file))

    async def delete(self, http: Request) -> Response:
        """Delete one."""
        await self._files.remove(context_of(http).project, http.path_params["file_id"])
        return replies.json(FileRemoved(id=http.path_params["file_id"]))

    async def _find(self, http: Request) -> File:
        return await self._files.get(context_of(http).project, http.path_params["file_id"])


class _Upload:
    """The parts of a form, which come in any order: the file before its purpose too, since the npm package sends them
    as they were written."""

    def __init__(self, files: Files, max_bytes: int) -> None:
        self._files, self._max_bytes = files, max_bytes
        self._fields: dict[str, str] = {}
        self._filename = ""
        self._arrived: Arrived | None = None

    async def take(self, part: Part) -> None:
        """The next part."""
        if part.name == "file":
            if self._arrived is not None:
                raise InvalidRequest("There are two files: send each in a request of its own.", param="file")
            self._filename = part.filename or ""
            async with aclosing(part.pieces()) as pieces:
                self._arrived = await self._files.receive(pieces, self._fields.get("purpose"), self._max_bytes)
            return
        if part.name not in FIELDS:
            name = part.name[:100]
            raise InvalidRequest(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
        if part.name in self._fields:
            raise InvalidRequest(f"'{part.name}' is there twice.", param=part.name)
        self._fields[part.name] = value = await part.text()
        if part.name == "purpose" and value not in UPLOADED:
            raise InvalidRequest(
                f"Invalid value for 'purpose': {value[:40]!r}. Supported values are: {', '.join(UPLOADED)}.",
                param="purpose",
            )

    async def finish(self, project: str, by: str, dialect: Dialect) -> File:
        """The file, once every part was taken."""
        if self._arrived is None or "purpose" not in self._fields:
            name = "file" if self._arrived is None else "purpose"
            raise InvalidRequest(
                f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
            )
        purpose = self._fields["purpose"]
        return await self._files.name(
            self._arrived, project=project, purpose=purpose, filename=self._filename, by=by,
            expires_s=expires_s(self._expires_s(), purpose, dialect),
        )  # fmt: skip

    async def drop(self) -> None:
        """Forget what has arrived, unless it has become a file."""
        if self._arrived is not None:
            await self._files.drop(self._arrived)

    def _expires_s(self) -> int | None:
        given = {name: self._fields[name] for name in (ANCHOR, SECONDS) if name in self._fields}
        if not given:
            return None
        if len(given) == 1:
            name = SECONDS if ANCHOR in given else ANCHOR
            raise InvalidRequest(
                f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name
            )
        if given[ANCHOR] != "created_at":
            raise InvalidRequest(f"Invalid '{ANCHOR}': expected 'created_at'.", param=ANCHOR)
        text, (least, most) = given[SECONDS], EXPIRES_S
        if not text.isascii() or not text.isdecimal() or not least <= int(text[:9]) <= most:
            raise InvalidRequest(f"Invalid '{SECONDS}': expected an integer from {least} to {most}.", param=SECONDS)
        return int(text)


class Content(Response):
    """The bytes of a file, as an attachment: no browser runs what somebody has uploaded."""

    def __init__(self, http: Request, file: File, pieces: AsyncGenerator[bytes]) -> None:
        self._http, self._file, self._pieces = http, file, pieces
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Read the first piece, so that what is not there is a 404; then send."""
        async with aclosing(self._pieces) as pieces:
            piece = await anext(pieces, b"")
            await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
            while piece:
                if await self._http.is_disconnected():
                    raise ClientGone
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await anext(pieces, b"")
            await send({"type": "http.response.body", "body": b""})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        name = self._file.filename
        kind = "application/jsonl" if name.endswith(".jsonl") else _TYPES.guess_type(name)[0]
        shown = "".join(character if character.isascii() and character not in '"\\' else "_" for character in name)
        return [
            (b"content-type", (kind or "application/octet-stream").encode()),
            (b"content-length", b"%d" % self._file.bytes),
            (b"content-disposition", f"attachment; filename=\"{shown}\"; filename*=UTF-8''{quote(name)}".encode()),
        ]


def file_operations(services: Services, files: Files) -> list[Operation]:
    """Every operation in every dialect, for the table of the application."""
    prefixes: tuple[tuple[str, Dialect], ...] = (("/v1", "openai"), ("/openai/v1", "azure_v1"), ("/openai", "azure"))
    routes = FileRoutes(services, files)
    return [each for prefix, dialect in prefixes for each in _operations(routes, f"{prefix}/files", dialect)]


def _operations(routes: FileRoutes, path: str, dialect: Dialect) -> list[Operation]:
    def operation(
        method: str, path: str, handler: Callable[[Request], Awaitable[Response]], name: str, **more: Any
    ) -> Operation:
        return Operation(
            method=method, path=path, handler=handler, name=f"{dialect}_files_{name}", dialect=dialect, **more
        )

    reads, writes = partial(operation, needs="files.read"), partial(operation, needs="files.write")
    one = f"{path}/{{file_id}}"
    return [
        writes("POST", path, routes.create, "create", summary="Upload a file", reply=FileObject, form=FORM,
               extra_status=(507,)),
        reads("GET", path, routes.list, "list", summary="List files", reply=FileList,
              query=("files/limit", "files/order", "files/after", "files/purpose"), extra_status=(400,)),
        reads("GET", one, routes.retrieve, "retrieve", summary="Describe a file", reply=FileObject),
        reads("GET", f"{one}/content", routes.content, "content", summary="The content of a file",
              reply="application/octet-stream"),
        writes("DELETE", one, routes.delete, "delete", summary="Delete a file", reply=FileRemoved),
    ]  # fmt: skip
