"""`data_sources` of a chat, Azure's "On Your Data": which sources this server takes, and what is made of them."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, UnsetType, structs
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from mainspring.api.openai.wire_base import Wire
from mainspring.api.openai.wire_vector_stores import FilterIn, filter_of
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Constraint, Message
from mainspring.responses.grounding import Context, Data, Grounded, Span, cited, ground
from mainspring.responses.judging import WORDS, Judge

if TYPE_CHECKING:
    from mainspring.api.context import Context as Asking
    from mainspring.api.openai.wire import DeploymentChatRequest
    from mainspring.api.services import Services

__all__ = ["Grounding", "VectorStoreSource", "grounding"]

KIND = "vector_store"


def _check_type(kind: str) -> str:
    """Whoever comes from Azure is told what to do."""
    if kind == KIND:
        return kind
    fix = "upload the documents, put them into a vector store (POST /vector_stores), and send its id as "
    example = '{"type": "vector_store", "parameters": {"vector_store_ids": ["vs_..."]}}'
    found = "Azure AI Search is not reached from here" if kind == "azure_search" else f"there is no {kind[:64]!r} here"
    raise PydanticCustomError("data_source", "{message}", {"message": f"{found}: {fix}{example}"})


def _check_contexts(contexts: list[str]) -> list[str]:
    return list(dict.fromkeys(contexts))


class VectorStoreParameters(Wire):
    """What is searched, and how. Names are Azure's where it has one."""

    vector_store_ids: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(min_length=1, max_length=16)
    filters: FilterIn | None = None
    top_n_documents: int | None = Field(None, ge=1, le=20, description="Most passages to answer from; 5 by default.")
    strictness: int | None = Field(None, ge=1, le=5, description="How well passages must fit; 3 by default.")
    in_scope: bool | None = Field(None, description="Answer from the documents alone; on by default.")
    include_contexts: (
        Annotated[
            list[Literal["citations", "intent", "all_retrieved_documents"]],
            Field(min_length=1, max_length=3),
            AfterValidator(_check_contexts),
        ]
        | None
    ) = Field(None, description="What to tell of it; citations and intent by default.")


class VectorStoreSource(Wire):
    """Vector stores of this server."""

    type: Annotated[str, AfterValidator(_check_type)] = Field(max_length=64, json_schema_extra={"enum": [KIND]})
    parameters: VectorStoreParameters


@dataclass(frozen=True)
class Grounding:
    """A chat's documents, if it has any, what looks whether they bear its answers out, and what those say of them."""

    found: Grounded | None = None
    judge: Judge = WORDS
    spans: dict[int, list[Span]] = field(default_factory=dict[int, list[Span]])

    @property
    def context(self) -> Context | UnsetType:
        """What is told before the answer."""
        return UNSET if self.found is None else self.found.context

    def last(self, choice: int) -> Context | UnsetType:
        """What is told after it."""
        return UNSET if self.found is None else Context(citation_spans=self.spans[choice])

    def whole(self, choice: int) -> Context | UnsetType:
        """Both."""
        return UNSET if self.found is None else structs.replace(self.found.context, citation_spans=self.spans[choice])

    def messages(self, given: tuple[Message, ...]) -> tuple[Message, ...]:
        """The chat with them in it."""
        return given if self.found is None else self.found.messages

    def constraint(self, wanted: Constraint | None) -> Constraint | None:
        """What the answer must match."""
        return wanted if self.found is None else self.found.constraint

    def around(self, services: "Services") -> "Services":
        """The same, with what it generates held to the documents."""
        if self.found is None:
            return services
        return replace(services, generate=cited(services.generate, self.found.sources, self.spans, self.judge))


async def grounding(
    services: "Services", context: "Asking", body: "DeploymentChatRequest", messages: tuple[Message, ...]
) -> Grounding:
    """Look for what a chat with `data_sources` asks.

    Raises:
        InvalidRequest: there is no search here; what cannot go together with it.
        NotFound: a vector store is not there.
    """
    if not body.data_sources:
        return Grounding()
    _check_alone(body)
    if services.vector_stores is None:
        raise InvalidRequest("This server has no vector stores.", param="data_sources")
    tenant = context.principal.id if context.principal else ""
    data, search = _data_of(body.data_sources[0]), services.vector_stores.search
    found = await ground(messages, data, search, project=context.project, tenant=tenant)
    judge = Judge(services.vector_stores.align, context.project, tenant)
    return Grounding(found, judge, {choice: [] for choice in range(body.n or 1)})


def _check_alone(body: "DeploymentChatRequest") -> None:
    """Text that cites is no JSON and no call, and its tokens are not those that the model chose."""
    wanted = body.response_format
    others = {
        "tools": body.tools, "functions": body.functions, "logprobs": body.logprobs,
        "response_format": None if wanted is None or wanted.type == "text" else wanted,
    }  # fmt: skip
    for name, value in others.items():
        if value:
            raise InvalidRequest(f"'{name}' cannot go together with 'data_sources': leave one out.", param=name)


def _data_of(source: VectorStoreSource) -> Data:
    """What is below the edge."""
    given = source.parameters
    more: dict[str, Any] = {"contexts": tuple(given.include_contexts)} if given.include_contexts else {}
    return Data(
        stores=tuple(given.vector_store_ids),
        filter=None if given.filters is None else filter_of(given.filters),
        limit=given.top_n_documents or 5,
        strictness=given.strictness or 3,
        in_scope=given.in_scope is not False,
        **more,
    )
