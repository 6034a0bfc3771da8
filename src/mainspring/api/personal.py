"""What a person wants all of their chats to know, under /v1/x/me/instructions.

It is put before the instructions of every turn of a chat, by the server, so that every client profits; the turn's
`instructions` show it. What is asked elsewhere (POST /v1/responses, /v1/chat/completions) is a program's, and stays as
it was sent.
"""

from functools import partial
from typing import Annotated, Literal

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.chats import NO_NUL
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, Stateful
from mainspring.store import personal as kept

__all__ = ["PersonalFields", "personal_operations"]

Said = Annotated[str, Field(max_length=1500, pattern=NO_NUL)]


class PersonalFields(Wire):
    """Instructions of somebody's own."""

    enabled: bool = Field(True, description="Whether they count.")
    about: Said = Field("", description="What answers should know about the person.")
    style: Said = Field("", description="How answers should be.")
    in_temporary: bool = Field(False, description="Whether they count in temporary chats, too.")


class PutPersonalRequest(PersonalFields):
    """They replace what was there."""


class PersonalInstructionsState(msgspec.Struct, frozen=True, kw_only=True):
    """Instructions of whoever asks. `updated_at` is null if they never gave any."""

    object: Literal["me.instructions"] = "me.instructions"
    enabled: bool
    about: str
    style: str
    in_temporary: bool
    updated_at: int | None

    @classmethod
    def of(cls, personal: kept.Personal) -> "PersonalInstructionsState":
        """From what is kept."""
        return cls(
            enabled=personal.enabled, about=personal.about, style=personal.style, in_temporary=personal.in_temporary,
            updated_at=None if personal.updated is None else int(personal.updated),
        )  # fmt: skip


class PersonalRoutes:
    """The handlers."""

    def __init__(self, services: Services, stateful: Stateful) -> None:
        self._services, self._personal = services, stateful.personal

    async def retrieve(self, http: Request) -> HttpResponse:
        """What they are."""
        context = context_of(http)
        return replies.json(PersonalInstructionsState.of(await self._personal.get(context.project, context.person)))

    async def put(self, http: Request) -> HttpResponse:
        """Have others from now on. What was asked before stays as it was."""
        body = await read_body(http, PutPersonalRequest, self._services.max_body_bytes)
        context, given = context_of(http), kept.Personal(**body.model_dump())
        made = await self._personal.put(context.project, context.person, given)
        return replies.json(PersonalInstructionsState.of(made))


def personal_operations(services: Services, stateful: Stateful) -> list[Operation]:
    """Both operations, for the table of the application."""
    routes, path = PersonalRoutes(services, stateful), "/v1/x/me/instructions"
    asks = partial(Operation, dialect="openai", needs="inference", path=path, reply=PersonalInstructionsState)
    return [
        asks(method="GET", handler=routes.retrieve, name="x_me_instructions_retrieve",
             summary="What all of one's chats are told", extra_status=(503,)),
        asks(method="PUT", handler=routes.put, name="x_me_instructions_replace",
             summary="Change what all of one's chats are told", body=PutPersonalRequest, extra_status=(400, 503)),
    ]  # fmt: skip
