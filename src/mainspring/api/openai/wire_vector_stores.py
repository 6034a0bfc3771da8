"""What clients send about vector stores: OpenAI's request bodies."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from mainspring.api.openai.wire_base import Wire
from mainspring.core.search import Comparison, Compound, Filter

__all__ = [
    "AttributesIn",
    "ChunkingIn",
    "CreateVectorStoreFileBatchRequest",
    "CreateVectorStoreFileRequest",
    "CreateVectorStoreRequest",
    "FilterIn",
    "UpdateVectorStoreFileRequest",
    "UpdateVectorStoreRequest",
    "VectorStoreSearchRequest",
    "filter_of",
]

Id = Annotated[str, Field(min_length=1, max_length=64)]
Number = Annotated[float, Field(ge=-(2.0**53), le=2.0**53)]


def _kind(value: Any) -> str:
    """Which of the kinds a value is: Pydantic would name all of them in an error."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "array" if isinstance(value, list) else "string"


def _plain_kind(value: Any) -> str:
    """The same where no array is taken."""
    return _kind(value) if not isinstance(value, list) else "string"


_Kinds, _PlainKinds = Discriminator(_kind), Discriminator(_plain_kind)
_Text = Annotated[Annotated[str, Field(max_length=512)], Tag("string")]
_Bool = Annotated[bool, Tag("boolean")]
_Number = Annotated[Number, Tag("number")]
AttributeIn = Annotated[_Text | _Number | _Bool, _PlainKinds]
AttributesIn = Annotated[dict[Annotated[str, Field(max_length=64)], AttributeIn], Field(max_length=16)]
MetadataIn = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class StaticChunkingIn(Wire):
    """Sizes in tokens; the overlap may be half of a chunk at most."""

    max_chunk_size_tokens: Annotated[int, Field(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Field(ge=0, le=2048)]


class AutoChunkingStrategyIn(Wire):
    """Chunks of 800 tokens, 400 of which are the ones before."""

    type: Literal["auto"]


class StaticChunkingStrategyIn(Wire):
    """As it says."""

    type: Literal["static"]
    static: StaticChunkingIn


ChunkingIn = Annotated[AutoChunkingStrategyIn | StaticChunkingStrategyIn, Field(discriminator="type")]


class ExpiresAfterIn(Wire):
    """When a store expires that nobody uses."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]


class CreateVectorStoreRequest(Wire):
    """A store to be made, with files if there are any."""

    name: Annotated[str, Field(max_length=256)] | None = None
    description: Annotated[str, Field(max_length=1024)] | None = None
    file_ids: Annotated[list[Id], Field(max_length=500)] | None = None
    chunking_strategy: ChunkingIn | None = None
    expires_after: ExpiresAfterIn | None = None
    metadata: MetadataIn | None = None


class UpdateVectorStoreRequest(Wire):
    """What is to be changed; null empties it."""

    name: Annotated[str, Field(max_length=256)] | None = None
    expires_after: ExpiresAfterIn | None = None
    metadata: MetadataIn | None = None


class CreateVectorStoreFileRequest(Wire):
    """A file to be put into a store."""

    file_id: Id
    attributes: AttributesIn | None = None
    chunking_strategy: ChunkingIn | None = None


class CreateVectorStoreFileBatchRequest(Wire):
    """Files to be put into a store together: `file_ids`, with what goes for all, or `files`, each with its own."""

    file_ids: Annotated[list[Id], Field(min_length=1, max_length=2000)] | None = None
    files: Annotated[list[CreateVectorStoreFileRequest], Field(min_length=1, max_length=2000)] | None = None
    attributes: AttributesIn | None = None
    chunking_strategy: ChunkingIn | None = None


class UpdateVectorStoreFileRequest(Wire):
    """Attributes that a file is to have, in place of those that it has."""

    attributes: AttributesIn | None


_Value = Annotated[_Text | _Number | _Bool, _PlainKinds]
_Values = Annotated[list[_Value], Field(min_length=1, max_length=100), Tag("array")]


class ComparisonIn(Wire):
    """An attribute against a value."""

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: Annotated[str, Field(max_length=64)]
    value: Annotated[_Text | _Number | _Bool | _Values, _Kinds]


class CompoundIn(Wire):
    """Filters joined."""

    type: Literal["and", "or"]
    filters: "Annotated[list[FilterIn], Field(min_length=1, max_length=100)]"


FilterIn = Annotated[ComparisonIn | CompoundIn, Field(discriminator="type")]
CompoundIn.model_rebuild()


class RankingOptionsIn(Wire):
    """How results are ranked. Every ranker but "none" is this server's own."""

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None


Query = Annotated[str, Field(min_length=1, max_length=8192)]


def _one_or_many(value: Any) -> str:
    return "many" if isinstance(value, list) else "one"


class VectorStoreSearchRequest(Wire):
    """What is looked for."""

    query: Annotated[
        Annotated[Query, Tag("one")]
        | Annotated[Annotated[list[Query], Field(min_length=1, max_length=16)], Tag("many")],
        Discriminator(_one_or_many),
    ]
    rewrite_query: bool | None = None
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    filters: FilterIn | None = None
    ranking_options: RankingOptionsIn | None = None


def filter_of(given: ComparisonIn | CompoundIn) -> Filter:
    """What `retrieval` understands. What is too deep or too large is refused there."""
    if isinstance(given, CompoundIn):
        return Compound(type=given.type, filters=tuple(filter_of(each) for each in given.filters))
    value = tuple(given.value) if isinstance(given.value, list) else given.value
    return Comparison(type=given.type, key=given.key, value=value)
