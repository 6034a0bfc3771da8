"""What the server sends about vector stores: OpenAI's shapes, from rows and from what was found."""

from typing import Any

import msgspec

from mainspring.core.search import Found
from mainspring.retrieval.attaching import SeenBatch
from mainspring.retrieval.rows import Attached, Counts
from mainspring.retrieval.stores import Seen

__all__ = [
    "VectorStore",
    "VectorStoreDeleted",
    "VectorStoreFile",
    "VectorStoreFileBatch",
    "VectorStoreFileContent",
    "VectorStoreFileDeleted",
    "VectorStoreFileList",
    "VectorStoreList",
    "VectorStoreSearchPage",
]


class FileCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Files by status."""

    in_progress: int
    completed: int
    failed: int
    cancelled: int
    total: int

    @classmethod
    def of(cls, counts: Counts) -> "FileCounts":
        """From what was counted."""
        return cls(
            in_progress=counts.in_progress, completed=counts.completed, failed=counts.failed,
            cancelled=counts.cancelled, total=counts.total,
        )  # fmt: skip


class ExpiresAfter(msgspec.Struct, frozen=True, kw_only=True):
    """When a store expires that nobody uses."""

    anchor: str = "last_active_at"
    days: int


class VectorStore(msgspec.Struct, frozen=True, kw_only=True):
    """A store. Times are in Unix seconds. `embedding_model` is Mainspring's own: what its vectors were made with, null
    if it has none, because no embedding model was deployed: then its words alone are searched."""

    id: str
    object: str = "vector_store"
    created_at: int
    name: str
    description: str | msgspec.UnsetType = msgspec.UNSET
    usage_bytes: int
    file_counts: FileCounts
    status: str
    expires_after: ExpiresAfter | msgspec.UnsetType = msgspec.UNSET
    expires_at: int | None
    last_active_at: int
    metadata: dict[str, str]
    embedding_model: str | None

    @classmethod
    def of(cls, seen: Seen) -> "VectorStore":
        """From its row and what is counted of it."""
        store = seen.store
        days, expires = store.expires_days, store.expires
        return cls(
            id=store.id, created_at=int(store.created), name=store.name,
            description=msgspec.UNSET if store.description is None else store.description,
            usage_bytes=seen.bytes, file_counts=FileCounts.of(seen.counts), status=seen.status,
            expires_after=msgspec.UNSET if days is None else ExpiresAfter(days=days),
            expires_at=None if expires is None else int(expires), last_active_at=int(store.active),
            metadata=store.metadata, embedding_model=store.model or None,
        )  # fmt: skip


class VectorStoreList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of stores; `first_id` and `last_id` are of this page, null if it is empty."""

    object: str = "list"
    data: list[VectorStore]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VectorStoreDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a store is deleted."""

    id: str
    object: str = "vector_store.deleted"
    deleted: bool = True


class VectorStoreFileError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a file failed."""

    code: str
    message: str


class StaticChunking(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in tokens."""

    max_chunk_size_tokens: int
    chunk_overlap_tokens: int


class ChunkingStrategy(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is cut."""

    type: str = "static"
    static: StaticChunking


class VectorStoreFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a store, under the id of the file. Times are in Unix seconds."""

    id: str
    object: str = "vector_store.file"
    usage_bytes: int
    created_at: int
    vector_store_id: str
    status: str
    last_error: VectorStoreFileError | None
    chunking_strategy: ChunkingStrategy
    attributes: dict[str, str | float | bool]

    @classmethod
    def of(cls, attached: Attached) -> "VectorStoreFile":
        """From its row."""
        chunking = StaticChunking(max_chunk_size_tokens=attached.max_tokens, chunk_overlap_tokens=attached.overlap)
        return cls(
            id=attached.file, usage_bytes=attached.bytes, created_at=int(attached.created),
            vector_store_id=attached.store, status=attached.status,
            last_error=None if attached.error is None else VectorStoreFileError(**attached.error),
            chunking_strategy=ChunkingStrategy(static=chunking), attributes=attached.attributes,
        )  # fmt: skip


class VectorStoreFileList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files in a store."""

    object: str = "list"
    data: list[VectorStoreFile]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VectorStoreFileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a file is in a store no more."""

    id: str
    object: str = "vector_store.file.deleted"
    deleted: bool = True


class VectorStoreFileBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were put into a store together."""

    id: str
    object: str = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: str
    file_counts: FileCounts

    @classmethod
    def of(cls, seen: SeenBatch) -> "VectorStoreFileBatch":
        """From its row and what is counted of it."""
        return cls(
            id=seen.batch.id, created_at=int(seen.batch.created), vector_store_id=seen.batch.store,
            status=seen.status, file_counts=FileCounts.of(seen.counts),
        )  # fmt: skip


class ContentPiece(msgspec.Struct, frozen=True, kw_only=True):
    """Some text."""

    type: str = "text"
    text: str


class VectorStoreFileContent(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a file as it was read: the pieces joined are the whole."""

    object: str = "vector_store.file_content.page"
    data: list[ContentPiece]
    has_more: bool = False
    next_page: str | None = None


class VectorStoreSearchItem(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was found."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Any]
    content: list[ContentPiece]

    @classmethod
    def of(cls, found: Found) -> "VectorStoreSearchItem":
        """From what was found."""
        return cls(
            file_id=found.file, filename=found.filename, score=found.score, attributes=found.attributes,
            content=[ContentPiece(text=found.text)],
        )  # fmt: skip


class VectorStoreSearchPage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, best first, and what was looked for."""

    object: str = "vector_store.search_results.page"
    search_query: list[str]
    data: list[VectorStoreSearchItem]
    has_more: bool = False
    next_page: str | None = None
