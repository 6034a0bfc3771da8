"""vector_stores, their files and batches: parse, call `retrieval`, render."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai import replies_vector_stores as told
from mainspring.api.openai import wire_vector_stores as wire
from mainspring.api.openai.pages import chosen, page_of
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, VectorStores
from mainspring.core.errors import InvalidRequest
from mainspring.core.search import Ranking, SearchRequest, Value
from mainspring.retrieval.attaching import AUTO, Chunking, Wish
from mainspring.retrieval.filters import check_filter
from mainspring.retrieval.rows import Attached
from mainspring.retrieval.stores import Change, Page

__all__ = ["VectorStoreRoutes", "vector_store_operations"]

POLL_MS = 250
"""When to look again; the packages' poll helpers ask for it."""
STATUSES = ("in_progress", "completed", "failed", "cancelled")


class VectorStoreRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, parts: VectorStores) -> None:
        self._max_bytes, self._parts = services.max_body_bytes, parts

    async def create(self, http: Request) -> Response:
        """Make a store, with files if there are any."""
        body = await read_body(http, wire.CreateVectorStoreRequest, self._max_bytes)
        if body.chunking_strategy is not None and not body.file_ids:
            raise InvalidRequest("'chunking_strategy' is for the files in 'file_ids', and there are none.",
                                 param="chunking_strategy")  # fmt: skip
        project, by = _who(http)
        store = self._parts.stores.new(
            project=project, by=by, name=body.name or "", description=body.description, metadata=body.metadata,
            expires_days=body.expires_after and body.expires_after.days,
        )  # fmt: skip
        chunking = _chunking(body.chunking_strategy)
        wishes = [Wish(file=each, attributes={}, chunking=chunking) for each in body.file_ids or ()]
        await self._parts.attaching.create_store(store, wishes)
        return replies.json(told.VectorStore.of(await self._parts.stores.get(project, store.id)))

    async def list(self, http: Request) -> Response:
        """The stores of the project."""
        found, more = await self._parts.stores.list(context_of(http).project, _page(http))
        data = [told.VectorStore.of(each) for each in found]
        return replies.json(told.VectorStoreList(data=data, has_more=more, **_ends([each.id for each in data])))

    async def retrieve(self, http: Request) -> Response:
        """One store."""
        return replies.json(told.VectorStore.of(await self._parts.stores.get(*_store(http))))

    async def update(self, http: Request) -> Response:
        """Change a store."""
        body = await read_body(http, wire.UpdateVectorStoreRequest, self._max_bytes)
        given: dict[str, Any] = {}
        if "name" in body.model_fields_set:
            given["name"] = body.name or ""
        if "metadata" in body.model_fields_set:
            given["metadata"] = body.metadata or {}
        if "expires_after" in body.model_fields_set:
            given["expires_days"] = body.expires_after and body.expires_after.days
        return replies.json(told.VectorStore.of(await self._parts.stores.change(*_store(http), Change(**given))))

    async def delete(self, http: Request) -> Response:
        """Delete a store."""
        project, store = _store(http)
        await self._parts.stores.remove(project, store)
        return replies.json(told.VectorStoreDeleted(id=store))

    async def search(self, http: Request) -> Response:
        """Find chunks."""
        body = await read_body(http, wire.VectorStoreSearchRequest, self._max_bytes)
        wanted = None if body.filters is None else wire.filter_of(body.filters)
        if wanted is not None:
            check_filter(wanted)
        (project, store), ranking = _store(http), body.ranking_options
        result = await self._parts.search(
            SearchRequest(
                project=project, stores=(store,), filter=wanted, tenant=_who(http)[1],
                queries=(body.query,) if isinstance(body.query, str) else tuple(body.query),
                limit=body.max_num_results or 10, rewrite=bool(body.rewrite_query),
                ranking=Ranking(
                    threshold=(ranking and ranking.score_threshold) or 0.0,
                    rerank=ranking is None or ranking.ranker != "none",
                ),
            )
        )  # fmt: skip
        data = [told.VectorStoreSearchItem.of(each) for each in result.found]
        return replies.json(told.VectorStoreSearchPage(search_query=list(result.queries), data=data))

    # -- files ---------------------------------------------------------------------------------------------------------

    async def attach(self, http: Request) -> Response:
        """Put a file into a store."""
        body = await read_body(http, wire.CreateVectorStoreFileRequest, self._max_bytes)
        return _polled(
            told.VectorStoreFile.of(
                await self._parts.attaching.attach(*_store(http), _wish(body, ""), by=_who(http)[1])
            )
        )

    async def list_files(self, http: Request) -> Response:
        """Files in a store, or of a batch."""
        status = chosen(http, "filter", STATUSES)
        found, more = await self._parts.attaching.list(
            *_store(http), _page(http), batch=http.path_params.get("batch_id"), status=status
        )
        return replies.json(_files(found, more))

    async def retrieve_file(self, http: Request) -> Response:
        """A file in a store."""
        return _polled(told.VectorStoreFile.of(await self._parts.attaching.get(*_file(http))))

    async def update_file(self, http: Request) -> Response:
        """Give a file other attributes."""
        body = await read_body(http, wire.UpdateVectorStoreFileRequest, self._max_bytes)
        found = await self._parts.attaching.set_attributes(*_file(http), body.attributes or {})
        return replies.json(told.VectorStoreFile.of(found))

    async def delete_file(self, http: Request) -> Response:
        """Take a file out of a store."""
        project, store, file = _file(http)
        await self._parts.attaching.remove(project, store, file)
        return replies.json(told.VectorStoreFileDeleted(id=file))

    async def content(self, http: Request) -> Response:
        """The text of a file as it was read."""
        return Content(self._parts.attaching.content(*_file(http)))

    # -- batches -------------------------------------------------------------------------------------------------------

    async def attach_batch(self, http: Request) -> Response:
        """Put files into a store together."""
        body = await read_body(http, wire.CreateVectorStoreFileBatchRequest, self._max_bytes)
        seen = await self._parts.attaching.attach_batch(*_store(http), _wishes(body), by=_who(http)[1])
        return _polled(told.VectorStoreFileBatch.of(seen))

    async def retrieve_batch(self, http: Request) -> Response:
        """One batch."""
        return _polled(told.VectorStoreFileBatch.of(await self._parts.attaching.get_batch(*_batch(http))))

    async def cancel_batch(self, http: Request) -> Response:
        """End one."""
        return _polled(told.VectorStoreFileBatch.of(await self._parts.attaching.cancel_batch(*_batch(http))))


class Content(Response):
    """The pieces of a text as JSON, written as they are read: a text may be large."""

    def __init__(self, pieces: AsyncGenerator[str]) -> None:
        self._pieces = pieces
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Read the first piece, so that what is not there is a 404; then send."""
        async with aclosing(self._pieces) as pieces:
            piece = await anext(pieces, None)
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            head, tail = replies.encode(told.VectorStoreFileContent(data=[])).split(b"[]")
            await send({"type": "http.response.body", "body": head + b"[", "more_body": True})
            comma = b""
            while piece is not None:
                body = comma + replies.encode(told.ContentPiece(text=piece))
                await send({"type": "http.response.body", "body": body, "more_body": True})
                piece, comma = await anext(pieces, None), b","
            await send({"type": "http.response.body", "body": b"]" + tail})


def _who(http: Request) -> tuple[str, str]:
    """The project, and the id of whoever asks."""
    context = context_of(http)
    return context.project, context.principal.id if context.principal else ""


def _store(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["vector_store_id"]


def _file(http: Request) -> tuple[str, str, str]:
    return (*_store(http), http.path_params["file_id"])


def _batch(http: Request) -> tuple[str, str, str]:
    return (*_store(http), http.path_params["batch_id"])


def _polled(body: Any) -> Response:
    response = replies.json(body)
    response.headers["openai-poll-after-ms"] = str(POLL_MS)
    return response


def _page(http: Request) -> Page:
    return Page(**page_of(http), before=http.query_params.get("before") or None)


def _ends(ids: Sequence[str]) -> dict[str, Any]:
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}


def _files(found: Sequence[Attached], more: bool) -> told.VectorStoreFileList:
    data = [told.VectorStoreFile.of(each) for each in found]
    return told.VectorStoreFileList(data=data, has_more=more, **_ends([each.id for each in data]))


def _chunking(given: wire.AutoChunkingStrategyIn | wire.StaticChunkingStrategyIn | None, where: str = "") -> Chunking:
    if not isinstance(given, wire.StaticChunkingStrategyIn):
        return AUTO
    sizes = given.static
    if sizes.chunk_overlap_tokens > sizes.max_chunk_size_tokens // 2:
        param = f"{where}chunking_strategy.static.chunk_overlap_tokens"
        raise InvalidRequest(f"Invalid '{param}': it may be half of 'max_chunk_size_tokens' at most.", param=param)
    return Chunking(sizes.max_chunk_size_tokens, sizes.chunk_overlap_tokens)


def _wish(body: wire.CreateVectorStoreFileRequest, where: str) -> Wish:
    attributes: Mapping[str, Value] = body.attributes or {}
    return Wish(file=body.file_id, attributes=attributes, chunking=_chunking(body.chunking_strategy, where))


def _wishes(body: wire.CreateVectorStoreFileBatchRequest) -> list[Wish]:
    if (body.files is None) == (body.file_ids is None):
        if body.files is None:
            raise InvalidRequest(
                "Missing required parameter: 'file_ids' (or 'files').", code="missing_required_parameter",
                param="file_ids",
            )  # fmt: skip
        raise InvalidRequest("'files' and 'file_ids' were given: one of them is enough.", param="files")
    if body.files is None:
        chunking = _chunking(body.chunking_strategy)
        return [Wish(file=each, attributes=body.attributes or {}, chunking=chunking) for each in body.file_ids or ()]
    for name in ("attributes", "chunking_strategy"):
        if getattr(body, name) is not None:
            raise InvalidRequest(f"'{name}' is for 'file_ids': with 'files' each file has its own.", param=name)
    return [_wish(each, f"files[{at}].") for at, each in enumerate(body.files)]


_PAGE = ("vector_stores/limit", "vector_stores/order", "vector_stores/after", "vector_stores/before")


def vector_store_operations(services: Services, parts: VectorStores, prefix: str, dialect: Dialect) -> list[Operation]:
    """Every route of a dialect, for the table of the application."""
    routes, name = VectorStoreRoutes(services, parts), f"{dialect}_vector_stores"
    reads = partial(Operation, method="GET", needs="files.read", dialect=dialect)
    posts = partial(Operation, method="POST", needs="files.write", dialect=dialect)
    deletes = partial(Operation, method="DELETE", needs="files.write", dialect=dialect)
    stores = f"{prefix}/vector_stores"
    one = f"{stores}/{{vector_store_id}}"
    return [
        posts(path=stores, handler=routes.create, name=f"{name}_create", summary="Make a vector store",
              body=wire.CreateVectorStoreRequest, reply=told.VectorStore),
        reads(path=stores, handler=routes.list, name=f"{name}_list", summary="List vector stores",
              reply=told.VectorStoreList, query=_PAGE, extra_status=(400, 503)),
        reads(path=one, handler=routes.retrieve, name=f"{name}_retrieve", summary="Describe a vector store",
              reply=told.VectorStore, extra_status=(503,)),
        posts(path=one, handler=routes.update, name=f"{name}_update", summary="Change a vector store",
              body=wire.UpdateVectorStoreRequest, reply=told.VectorStore),
        deletes(path=one, handler=routes.delete, name=f"{name}_delete", summary="Delete a vector store",
                reply=told.VectorStoreDeleted, extra_status=(503,)),
        Operation(method="POST", path=f"{one}/search", handler=routes.search, name=f"{name}_search",
                  summary="Search a vector store", needs="files.read", dialect=dialect,
                  body=wire.VectorStoreSearchRequest, reply=told.VectorStoreSearchPage),
        *_file_operations(routes, one, name, dialect),
        *_batch_operations(routes, one, name, dialect),
    ]  # fmt: skip


def _file_operations(routes: VectorStoreRoutes, one: str, name: str, dialect: Dialect) -> list[Operation]:
    reads = partial(Operation, method="GET", needs="files.read", dialect=dialect)
    posts = partial(Operation, method="POST", needs="files.write", dialect=dialect)
    files, file = f"{one}/files", f"{one}/files/{{file_id}}"
    return [
        posts(path=files, handler=routes.attach, name=f"{name}_files_create", summary="Put a file into a vector store",
              body=wire.CreateVectorStoreFileRequest, reply=told.VectorStoreFile),
        reads(path=files, handler=routes.list_files, name=f"{name}_files_list", summary="List files in a vector store",
              reply=told.VectorStoreFileList, query=(*_PAGE, "vector_stores/filter"), extra_status=(400, 503)),
        reads(path=file, handler=routes.retrieve_file, name=f"{name}_files_retrieve",
              summary="Describe a file in a vector store", reply=told.VectorStoreFile, extra_status=(503,)),
        posts(path=file, handler=routes.update_file, name=f"{name}_files_update",
              summary="Give a file in a vector store other attributes", body=wire.UpdateVectorStoreFileRequest,
              reply=told.VectorStoreFile),
        Operation(method="DELETE", path=file, handler=routes.delete_file, name=f"{name}_files_delete",
                  summary="Take a file out of a vector store", needs="files.write", dialect=dialect,
                  reply=told.VectorStoreFileDeleted, extra_status=(503,)),
        reads(path=f"{file}/content", handler=routes.content, name=f"{name}_files_content",
              summary="The text of a file in a vector store", reply=told.VectorStoreFileContent, extra_status=(503,)),
    ]  # fmt: skip


def _batch_operations(routes: VectorStoreRoutes, one: str, name: str, dialect: Dialect) -> list[Operation]:
    reads = partial(Operation, method="GET", needs="files.read", dialect=dialect)
    posts = partial(Operation, method="POST", needs="files.write", dialect=dialect)
    batches, batch = f"{one}/file_batches", f"{one}/file_batches/{{batch_id}}"
    return [
        posts(path=batches, handler=routes.attach_batch, name=f"{name}_batches_create",
              summary="Put files into a vector store together", body=wire.CreateVectorStoreFileBatchRequest,
              reply=told.VectorStoreFileBatch),
        reads(path=batch, handler=routes.retrieve_batch, name=f"{name}_batches_retrieve",
              summary="Describe a batch of files", reply=told.VectorStoreFileBatch, extra_status=(503,)),
        posts(path=f"{batch}/cancel", handler=routes.cancel_batch, name=f"{name}_batches_cancel",
              summary="End a batch of files", reply=told.VectorStoreFileBatch, extra_status=(503,)),
        reads(path=f"{batch}/files", handler=routes.list_files, name=f"{name}_batches_files",
              summary="List files of a batch", reply=told.VectorStoreFileList,
              query=(*_PAGE, "vector_stores/filter"), extra_status=(400, 503)),
    ]  # fmt: skip
