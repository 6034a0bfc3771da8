"""moderations: what is in a text, in OpenAI's 13 categories."""

import secrets
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Discriminator, Field, Tag
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest, ModelNotFound
from mainspring.governance.apart import Apart
from mainspring.governance.filters.moderation import CATEGORIES, Moderated, moderate

__all__ = ["CreateModerationRequest", "ModerationResponse", "moderation_operations"]

MODELS = (
    "omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-latest", "text-moderation-stable",
    "text-moderation-007",
)  # fmt: skip
"""Names that are taken for what there is."""
MAX_INPUTS = 1024
MAX_CHARACTERS = 500_000
"""Of all inputs together: a sixth of a second of one core."""
CHARACTERS_PER_TOKEN = 4
"""What is looked at is no tokens; they are told as estimates of requests are."""
HERE = 2000
"""Characters that are looked at in the event loop: a millisecond. More are in a thread apart."""


class ModerationText(Wire):
    """A piece of what is looked at."""

    type: Literal["text"]
    text: str


class ModerationImageUrl(Wire):
    """Where an image is."""

    url: str


class ModerationImage(Wire):
    """An image. Nothing here can look at one yet: a 400 that names it."""

    type: Literal["image_url"]
    image_url: ModerationImageUrl


def _kind(value: Any) -> str:
    if not isinstance(value, list):
        return "string"
    return "parts" if value and isinstance(value[0], dict) else "strings"


Part = Annotated[ModerationText | ModerationImage, Field(discriminator="type")]
Input = Annotated[
    Annotated[str, Tag("string")]
    | Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS), Tag("strings")]
    | Annotated[list[Part], Field(min_length=1, max_length=MAX_INPUTS), Tag("parts")],
    Discriminator(_kind),
]


class CreateModerationRequest(Wire):
    """The body of moderations."""

    input: Input = Field(description="A text, several texts with a result each, or the parts of one text.")
    model: str | None = Field(None, max_length=256, description="One of OpenAI's names; they all mean the same here.")


class ModerationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is in one text."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]

    @classmethod
    def of(cls, found: Moderated) -> "ModerationResult":
        """From what was found. Every category is looked for in text."""
        types = {name: ["text"] for name in CATEGORIES}
        return cls(
            flagged=found.flagged, categories=found.flags, category_scores=found.scores,
            category_applied_input_types=types,
        )  # fmt: skip


class ModerationResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of moderations."""

    id: str
    model: str
    results: list[ModerationResult]


class ModerationRoutes:
    """The handler in every dialect."""

    def __init__(self, services: Services) -> None:
        self._services, self._apart = services, Apart()

    async def create(self, http: Request) -> Response:
        """Parse, look, render."""
        body = await read_body(http, CreateModerationRequest, self._services.max_body_bytes)
        model = body.model or MODELS[0]
        if model not in MODELS:
            raise ModelNotFound(
                f"The model {model!r} does not exist. For moderation there is one, which answers to these names: "
                f"{', '.join(MODELS)}.",
                param="model",
            )
        texts = _texts(body)
        size = sum(map(len, texts))
        if size > MAX_CHARACTERS:
            raise InvalidRequest(
                f"Invalid 'input': {size} characters are more than {MAX_CHARACTERS}, the most of one request.",
                code="string_above_max_length", param="input",
            )  # fmt: skip

        id, context = f"modr-{secrets.token_hex(16)}", context_of(http)  # noqa: A001 - what the API calls it
        key, tokens = context.principal.id if context.principal else "", -(-size // CHARACTERS_PER_TOKEN)
        self._services.count("moderation", id, project=context.project, key=key, subject=model, tokens=tokens)

        def look() -> list[Moderated]:
            return [moderate(text) for text in texts]

        found = look() if size <= HERE else await self._apart.prompt(look)
        return replies.json(
            ModerationResponse(id=id, model=model, results=[ModerationResult.of(each) for each in found])
        )


def _texts(body: CreateModerationRequest) -> list[str]:
    if isinstance(body.input, str):
        return [body.input]
    texts: list[str] = []
    for at, part in enumerate(body.input):
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, ModerationText):
            texts = ["\n".join([*texts, part.text])]
        else:
            raise InvalidRequest(
                f"Unsupported parameter: 'input[{at}].image_url': nothing here can look at images. Send text alone.",
                code="unsupported_parameter", param=f"input[{at}].image_url",
            )  # fmt: skip
    return texts


def moderation_operations(services: Services, prefix: str, dialect: Dialect) -> list[Operation]:
    """The route of a dialect, for the table of the application."""
    asks = partial(Operation, method="POST", needs="inference", dialect=dialect)
    return [
        asks(
            path=f"{prefix}/moderations", handler=ModerationRoutes(services).create,
            name=f"{dialect}_moderations_create", summary="Say what is in a text", body=CreateModerationRequest,
            reply=ModerationResponse,
        )
    ]  # fmt: skip
