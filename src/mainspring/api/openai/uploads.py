"""uploads: files in parts. A part goes to the disk while it is parsed, and never whole into memory."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.multipart import Form
from mainspring.api.openai import replies
from mainspring.api.openai.files import FORM_BYTES, ExpiresAfter, FileObject, expires_s
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.store.files import File, Uploaded
from mainspring.store.uploads import MAX_PART_BYTES, MAX_PARTS, Part, Upload, Uploads

__all__ = ["CompleteUploadRequest", "CreateUploadRequest", "UploadObject", "UploadPart", "upload_operations"]

PART: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["data"],
    "properties": {"data": {"type": "string", "format": "binary"}},
}
"""The body of a part."""


class CreateUploadRequest(Wire):
    """A file that is to be sent in parts."""

    filename: Annotated[str, Field(min_length=1, max_length=4096)]
    purpose: Uploaded
    bytes: Annotated[int, Field(ge=0, le=2**53, description="Of all parts together.")]
    mime_type: Annotated[str, Field(min_length=1, max_length=255)]
    expires_after: ExpiresAfter | None = None


class CompleteUploadRequest(Wire):
    """The parts of a file, in their order."""

    part_ids: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=MAX_PARTS)]
    md5: Annotated[str, Field(pattern="^[0-9a-fA-F]{32}$")] | None = None


class UploadObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file in parts. Times are in Unix seconds; `file` is there once it is completed."""

    id: str
    object: str = "upload"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str
    expires_at: int
    file: FileObject | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, upload: Upload, file: File | None = None) -> "UploadObject":
        """From the rows below the edge."""
        return cls(
            id=upload.id, bytes=upload.bytes, created_at=int(upload.created), filename=upload.filename,
            purpose=upload.purpose, status=upload.status, expires_at=int(upload.expires),
            file=msgspec.UNSET if file is None else FileObject.of(file),
        )  # fmt: skip


class UploadPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an upload."""

    id: str
    object: str = "upload.part"
    created_at: int
    upload_id: str

    @classmethod
    def of(cls, part: Part) -> "UploadPart":
        """From the row below the edge."""
        return cls(id=part.id, created_at=int(part.created), upload_id=part.upload)


class UploadRoutes:
    """The handlers of uploads in one dialect."""

    def __init__(self, services: Services, uploads: Uploads, dialect: Dialect) -> None:
        self._services, self._uploads = services, uploads
        self._dialect: Dialect = dialect

    async def create(self, http: Request) -> Response:
        """Begin."""
        body = await read_body(http, CreateUploadRequest, self._services.max_body_bytes)
        context = context_of(http)
        seconds = None if body.expires_after is None else body.expires_after.seconds
        upload = await self._uploads.create(
            project=context.project, purpose=body.purpose, filename=body.filename, bytes=body.bytes,
            mime_type=body.mime_type, by=context.principal.id if context.principal else "",
            file_expires_s=expires_s(seconds, body.purpose, self._dialect),
        )  # fmt: skip
        return replies.json(UploadObject.of(upload))

    async def add(self, http: Request) -> Response:
        """Parse and write at once; then make a part of what was written."""
        named, form, arrived = _named(http), Form(http, MAX_PART_BYTES + FORM_BYTES), None
        await self._uploads.pending(*named)  # before anything is sent, if the client lets us
        try:
            async with aclosing(form.parts()) as fields:
                async for field in fields:
                    if field.name != "data":
                        name = field.name[:100]
                        raise InvalidRequest(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
                    if arrived is not None:
                        raise InvalidRequest("There are two parts: send each in a request of its own.", param="data")
                    async with aclosing(field.pieces()) as pieces:
                        arrived = await self._uploads.receive(pieces)
            if arrived is None:
                raise InvalidRequest(
                    "Missing required parameter: 'data'.", code="missing_required_parameter", param="data"
                )
            return replies.json(UploadPart.of(await self._uploads.add(*named, arrived)))
        finally:
            if arrived is not None:
                await self._uploads.drop(arrived)

    async def complete(self, http: Request) -> Response:
        """Make the file."""
        body = await read_body(http, CompleteUploadRequest, self._services.max_body_bytes)
        return replies.json(UploadObject.of(*await self._uploads.complete(*_named(http), body.part_ids, body.md5)))

    async def cancel(self, http: Request) -> Response:
        """Let it be."""
        return replies.json(UploadObject.of(await self._uploads.cancel(*_named(http))))


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["upload_id"]


def upload_operations(services: Services, uploads: Uploads) -> list[Operation]:
    """Every operation in every dialect, for the table of the application."""
    prefixes: tuple[tuple[str, Dialect], ...] = (("/v1", "openai"), ("/openai/v1", "azure_v1"), ("/openai", "azure"))
    return [
        each
        for prefix, dialect in prefixes
        for each in _operations(UploadRoutes(services, uploads, dialect), f"{prefix}/uploads", dialect)
    ]


def _operations(routes: UploadRoutes, path: str, dialect: Dialect) -> list[Operation]:
    def posts(path: str, handler: Callable[[Request], Awaitable[Response]], name: str, **more: Any) -> Operation:
        return Operation(
            method="POST", path=path, handler=handler, name=f"{dialect}_uploads_{name}", dialect=dialect,
            needs="files.write", **more,
        )  # fmt: skip

    one, whole = f"{path}/{{upload_id}}", partial(posts, reply=UploadObject)
    return [
        whole(path, routes.create, "create", summary="Begin to upload a file in parts", body=CreateUploadRequest),
        posts(f"{one}/parts", routes.add, "add_part", summary="Add a part to an upload", form=PART, reply=UploadPart,
              extra_status=(507,)),
        whole(f"{one}/complete", routes.complete, "complete", summary="Make a file of an upload's parts",
              body=CompleteUploadRequest, extra_status=(507,)),
        whole(f"{one}/cancel", routes.cancel, "cancel", summary="Cancel an upload", extra_status=(400, 503)),
    ]  # fmt: skip
