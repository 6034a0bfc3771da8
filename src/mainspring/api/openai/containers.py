"""containers and their files: what the code interpreter works with. Parse, call `store.containers`, render."""

from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of, header
from mainspring.api.errors import Dialect
from mainspring.api.multipart import Form, Part
from mainspring.api.openai import replies
from mainspring.api.openai.pages import page_of
from mainspring.api.openai.wire_base import NotYet, Wire
from mainspring.api.openai.wire_server_tools import Id, MemoryLimit, NoNetworkIn
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest, PayloadTooLarge
from mainspring.responses.tools_code_interpreter import files_of
from mainspring.store.containers import IDLE_MINUTES, MAX_BYTES, Container, ContainerFile, Containers, path_of
from mainspring.store.files import Files

__all__ = ["ContainerRoutes", "container_operations"]

FORM_BYTES = 2**20
"""What a form may have beside its file."""
FOLDER = "/mnt/data"
"""Where code sees the files."""
FORM: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"file": {"type": "string", "format": "binary"}, "file_id": {"type": "string"}},
}
"""The body of an upload: one of the two."""


class ContainerExpiresIn(Wire):
    """When a container is gone that nobody uses."""

    anchor: Literal["last_active_at"]
    minutes: Annotated[int, Field(ge=1, le=20)]


class CreateContainerRequest(Wire):
    """A container to be made, with files if there are any."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    file_ids: Annotated[list[Id], Field(max_length=50)] | None = None
    expires_after: ContainerExpiresIn | None = None
    memory_limit: MemoryLimit | None = None
    network_policy: NoNetworkIn | None = None
    skills: NotYet = None


class CreateContainerFileRequest(Wire):
    """A file to be copied into a container."""

    file_id: Id


class ContainerExpires(msgspec.Struct, frozen=True):
    """When it is gone that nobody uses."""

    minutes: int
    anchor: Literal["last_active_at"] = "last_active_at"


class NetworkPolicy(msgspec.Struct, frozen=True):
    """Code reaches no network."""

    type: Literal["disabled"] = "disabled"


class ContainerObject(msgspec.Struct, frozen=True, kw_only=True):
    """A container. Times are in Unix seconds."""

    id: str
    object: Literal["container"] = "container"
    created_at: int
    status: Literal["running"] = "running"
    expires_after: ContainerExpires
    last_active_at: int
    memory_limit: str
    name: str
    network_policy: NetworkPolicy = NetworkPolicy()

    @classmethod
    def of(cls, kept: Container) -> "ContainerObject":
        """From the row below the edge."""
        return cls(
            id=kept.id, created_at=int(kept.created), expires_after=ContainerExpires(kept.minutes),
            last_active_at=int(kept.active), memory_limit=kept.memory, name=kept.name,
        )  # fmt: skip


class ContainerList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of containers; ids are of this page, empty if that is."""

    object: Literal["list"] = "list"
    data: list[ContainerObject]
    first_id: str
    last_id: str
    has_more: bool


class ContainerFileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a container. `source` is who put it there."""

    id: str
    object: Literal["container.file"] = "container.file"
    container_id: str
    created_at: int
    bytes: int
    path: str
    source: str

    @classmethod
    def of(cls, kept: ContainerFile) -> "ContainerFileObject":
        """From the row below the edge."""
        return cls(
            id=kept.id, container_id=kept.container, created_at=int(kept.created), bytes=kept.bytes,
            path=f"{FOLDER}/{kept.path}", source=kept.source,
        )  # fmt: skip


class ContainerFileList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files; as of containers."""

    object: Literal["list"] = "list"
    data: list[ContainerFileObject]
    first_id: str
    last_id: str
    has_more: bool


class ContainerDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a container, or a file of one, is gone."""

    id: str
    object: Literal["container.deleted", "container.file.deleted"]
    deleted: bool = True


class ContainerRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, containers: Containers, files: Files) -> None:
        self._max_bytes, self._containers, self._files = services.max_body_bytes, containers, files

    async def create(self, http: Request) -> Response:
        """Make a container."""
        body = await read_body(http, CreateContainerRequest, self._max_bytes)
        context = context_of(http)
        self._containers.check_memory(body.memory_limit, "memory_limit")
        files = await files_of(self._files, context.project, body.file_ids or ())
        made = await self._containers.create(
            project=context.project, by=context.principal.id if context.principal else "", name=body.name,
            minutes=IDLE_MINUTES if body.expires_after is None else body.expires_after.minutes,
            memory=body.memory_limit or "1g", files=files,
        )  # fmt: skip
        return replies.json(ContainerObject.of(made))

    async def list(self, http: Request) -> Response:
        """The containers of the project."""
        name = http.query_params.get("name")
        found, more = await self._containers.page(context_of(http).project, name=name, **page_of(http))
        data = [ContainerObject.of(each) for each in found]
        ids = [each.id for each in data] or [""]
        return replies.json(ContainerList(data=data, first_id=ids[0], last_id=ids[-1], has_more=more))

    async def retrieve(self, http: Request) -> Response:
        """One container."""
        return replies.json(ContainerObject.of(await self._containers.get(*_named(http))))

    async def delete(self, http: Request) -> Response:
        """Delete one."""
        project, id = _named(http)  # noqa: A001 - what the API calls it
        await self._containers.remove(project, id)
        return replies.json(ContainerDeleted(id=id, object="container.deleted"))

    async def create_file(self, http: Request) -> Response:
        """Put a file into one: uploaded here, or before."""
        project, id = _named(http)  # noqa: A001
        await self._containers.get(project, id)
        kind = header(http.scope["headers"], b"content-type") or b""
        if kind.startswith(b"multipart/"):
            name, content, file = await _uploaded(http)
        else:
            name, content = "", b""
            file = (await read_body(http, CreateContainerFileRequest, self._max_bytes)).file_id
        if file:
            ((name, content),) = (await files_of(self._files, project, [file])).items()
        return replies.json(
            ContainerFileObject.of(await self._containers.add_file(project, id, path_of(name), content))
        )

    async def list_files(self, http: Request) -> Response:
        """The files of one."""
        found, more = await self._containers.files(*_named(http), **page_of(http))
        data = [ContainerFileObject.of(each) for each in found]
        ids = [each.id for each in data] or [""]
        return replies.json(ContainerFileList(data=data, first_id=ids[0], last_id=ids[-1], has_more=more))

    async def retrieve_file(self, http: Request) -> Response:
        """One file."""
        return replies.json(ContainerFileObject.of(await self._containers.file(*_named(http), _file(http))))

    async def content(self, http: Request) -> Response:
        """Its bytes, as an attachment: no browser runs what code has written."""
        found, content = await self._containers.content(*_named(http), _file(http))
        name = path_of(found.path).encode("ascii", "replace").decode().replace("?", "_")
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def delete_file(self, http: Request) -> Response:
        """Delete one."""
        await self._containers.remove_file(*_named(http), _file(http))
        return replies.json(ContainerDeleted(id=_file(http), object="container.file.deleted"))


def _named(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["container_id"]


def _file(http: Request) -> str:
    return http.path_params["file_id"]


async def _uploaded(http: Request) -> tuple[str, bytes, str]:
    """(filename, content, "") of a form with a file, ("", b"", id) of one that names a file.

    Raises:
        InvalidRequest: it has neither, or both.
        PayloadTooLarge: the file is larger than a container may be.
    """
    name, content, file = "", b"", ""
    seen: set[str] = set()
    async with aclosing(Form(http, MAX_BYTES + FORM_BYTES).parts()) as parts:
        async for part in parts:
            if part.name not in ("file", "file_id"):
                unknown = part.name[:100]
                raise InvalidRequest(f"Unknown parameter: '{unknown}'.", code="unknown_parameter", param=unknown)
            seen.add(part.name)
            if part.name == "file_id":
                file = await part.text()
            else:
                name, content = part.filename or "", await _bytes(part)
    if len(seen) != 1:
        raise InvalidRequest("Send either 'file' or 'file_id'.", param="file" if seen else "file_id")
    return name, content, file


async def _bytes(part: Part) -> bytes:
    found = bytearray()
    async with aclosing(part.pieces()) as pieces:
        async for piece in pieces:
            found += piece
            if len(found) > MAX_BYTES:
                raise PayloadTooLarge(f"The file has more than {MAX_BYTES} bytes, the most of a container.")
    return bytes(found)


def container_operations(
    services: Services, containers: Containers, files: Files, prefix: str, dialect: Dialect
) -> list[Operation]:
    """Every operation of a dialect, for the table of the application."""
    routes = ContainerRoutes(services, containers, files)
    named = partial(_operation, dialect)
    reads, writes = partial(named, needs="files.read"), partial(named, needs="files.write")
    top = f"{prefix}/containers"
    one, page = f"{top}/{{container_id}}", ("items/limit", "items/order", "items/after")
    file = f"{one}/files/{{file_id}}"
    return [
        writes("POST", top, routes.create, "create", summary="Make a container", body=CreateContainerRequest,
               reply=ContainerObject),
        reads("GET", top, routes.list, "list", summary="List containers", reply=ContainerList,
              query=(*page, "containers/name"), extra_status=(400,)),
        reads("GET", one, routes.retrieve, "retrieve", summary="Describe a container", reply=ContainerObject),
        writes("DELETE", one, routes.delete, "delete", summary="Delete a container", reply=ContainerDeleted),
        writes("POST", f"{one}/files", routes.create_file, "files_create", summary="Put a file into a container",
               form=FORM, reply=ContainerFileObject),
        reads("GET", f"{one}/files", routes.list_files, "files_list", summary="List the files of a container",
              reply=ContainerFileList, query=page, extra_status=(400,)),
        reads("GET", file, routes.retrieve_file, "files_retrieve", summary="Describe a file of a container",
              reply=ContainerFileObject),
        reads("GET", f"{file}/content", routes.content, "files_content", summary="The content of a file of a container",
              reply="application/octet-stream"),
        writes("DELETE", file, routes.delete_file, "files_delete", summary="Delete a file of a container",
               reply=ContainerDeleted),
    ]  # fmt: skip


def _operation(dialect: Dialect, method: str, path: str, handler: Any, name: str, **more: Any) -> Operation:
    return Operation(
        method=method, path=path, handler=handler, name=f"{dialect}_containers_{name}", dialect=dialect, **more
    )
