"""Chats out and in, under /v1/x/chats/export and /import: one JSON document with everything, and ChatGPT's export.

Beside the chats it has what they may begin with: a person's presets, and their own instructions.
"""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response as HttpResponse
from starlette.responses import StreamingResponse

from mainspring.api.body import read_body
from mainspring.api.chats import MAX_SETTINGS_BYTES, Tag, Title
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openai.wire_items import ItemReferenceIn, Items
from mainspring.api.openai.wire_responses import Include
from mainspring.api.openapi import Operation
from mainspring.api.personal import PersonalFields
from mainspring.api.presets import CreatePresetRequest, checked
from mainspring.api.services import Services, Stateful
from mainspring.core.errors import InvalidRequest
from mainspring.responses.chatgpt import from_chatgpt
from mainspring.responses.chats import Turn
from mainspring.responses.presets import MAX_PRESETS
from mainspring.responses.shown import shown_entry
from mainspring.responses.transfer import GivenChat, GivenTurn
from mainspring.store.chats import Chat
from mainspring.store.personal import Personal
from mainspring.store.presets import Preset

__all__ = ["transfer_operations"]

Json = dict[str, Any]
Time = Annotated[float, Field(ge=0, le=1e11)]
ChatId = Annotated[str, Field(pattern=r"^chat_[A-Za-z0-9_-]{1,59}$")]
PresetId = Annotated[str, Field(pattern=r"^preset_[A-Za-z0-9_-]{1,57}$")]
TurnId = Annotated[str, Field(pattern=r"^resp_[A-Za-z0-9_-]{1,59}$")]

_encode = msgspec.json.Encoder(order="sorted").encode


class TurnIn(Wire):
    """A turn as an export has it."""

    id: TurnId
    previous: TurnId | None = None
    created_at: Time
    completed_at: int | None = Field(None, ge=0, le=10**11)
    status: Literal["completed", "failed", "cancelled", "incomplete"]
    model: str = Field(max_length=256)
    instructions: str | None = None
    input: Items
    output: Items
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    incomplete_details: dict[str, Any] | None = None
    include: Include = Field([], max_length=16)


class ChatIn(Wire):
    """A chat as an export has it."""

    id: ChatId
    created_at: Time
    updated_at: Time
    title: Title = ""
    folder: Title = ""
    tags: list[Tag] = Field([], max_length=32)
    pinned: bool = False
    settings: dict[str, Any] = Field({})
    head: TurnId | None = None
    turns: list[TurnIn] = Field([], max_length=20_000)


class PresetIn(CreatePresetRequest):
    """A preset as an export has it."""

    id: PresetId
    created_at: Time
    updated_at: Time


class PersonalIn(PersonalFields):
    """Instructions of somebody's own, as an export has them."""

    updated_at: Time


class ImportRequest(Wire):
    """Chats of an export, or conversations of ChatGPT's."""

    object: Literal["chat.export"] | None = None
    version: Literal[1] | None = None
    chats: list[ChatIn] = Field([], max_length=10_000)
    presets: list[PresetIn] = Field([], max_length=MAX_PRESETS)
    instructions: PersonalIn | None = None
    conversations: list[Any] = Field([], max_length=10_000, description="What is in ChatGPT's conversations.json.")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of chats that are new here, of those that were here already and stay as they are, and of presets that are
    new. `instructions` says whether those of the document count now: they do if there were none."""

    object: Literal["chat.import"] = "chat.import"
    imported: list[str]
    known: list[str]
    presets: list[str]
    instructions: bool


class TransferRoutes:
    """The handlers."""

    def __init__(self, services: Services, stateful: Stateful) -> None:
        self._services, self._transfer = services, stateful.transfer
        self._presets, self._personal = stateful.presets, stateful.personal

    async def export(self, http: Request) -> HttpResponse:
        """Everything that whoever asks has said, as one document; chat by chat, so that memory has one at a time."""
        context = context_of(http)
        who = context.project, context.person
        chats = self._transfer.every(*who)
        beside = {
            "presets": [_exported_preset(each) for each in await self._presets.every(*who)],
            "instructions": _exported_personal(await self._personal.get(*who)),
        }
        headers = {"content-disposition": 'attachment; filename="mainspring-chats.json"'}
        return StreamingResponse(_document(chats, beside), media_type="application/json", headers=headers)

    async def take(self, http: Request) -> HttpResponse:
        """Keep chats that were made elsewhere."""
        body = await read_body(http, ImportRequest, self._services.max_body_bytes)
        context, now_s = context_of(http), self._services.clock.now()
        given = [_given(chat, at) for at, chat in enumerate(body.chats)]
        given += [from_chatgpt(each, now_s) for each in body.conversations]
        creator = context.principal.id if context.principal else ""
        who = context.project, context.person
        presets = await self._presets.take([_given_preset(each, at, *who) for at, each in enumerate(body.presets)])
        personal = body.instructions is not None and await self._personal.take(*who, _given_personal(body.instructions))
        taken, known = await self._transfer.take(*who, creator, given)
        return replies.json(Imported(imported=taken, known=known, presets=presets, instructions=personal))


async def _document(chats: AsyncGenerator[tuple[Chat, list[Turn]]], beside: Json) -> AsyncGenerator[bytes]:
    yield b'{"object":"chat.export","version":1,"chats":['
    between = b"\n"
    async for chat, turns in chats:
        yield between + _encode(_exported(chat, turns))
        between = b",\n"
    yield b'\n],"presets":[%s\n],"instructions":%s}\n' % (
        b",".join(b"\n" + _encode(each) for each in beside["presets"]),
        _encode(beside["instructions"]),
    )


def _exported(chat: Chat, turns: list[Turn]) -> Json:
    fields = {name: getattr(chat, name) for name in ("id", "title", "folder", "tags", "pinned", "settings", "head")}
    times = {"created_at": chat.created, "updated_at": chat.updated}
    return {**fields, **times, "turns": [_exported_turn(turn) for turn in turns]}


def _exported_turn(turn: Turn) -> Json:
    response = turn.response
    body = {
        name: response.body.get(name)
        for name in ("completed_at", "instructions", "usage", "error", "incomplete_details")
    }
    return {
        "id": response.id, "previous": response.previous, "created_at": response.created, "status": response.status,
        "model": response.body["model"], "include": response.include, **body,
        "input": [shown_entry(each, response.include) for each in turn.given],
        "output": [shown_entry(each, response.include) for each in turn.outputs],
    }  # fmt: skip


def _exported_preset(preset: Preset) -> Json:
    times = {"id": preset.id, "created_at": preset.created, "updated_at": preset.updated}
    return {**times, **{name: getattr(preset, name) for name in CreatePresetRequest.model_fields}}


def _given_preset(preset: PresetIn, at: int, project: str, owner: str) -> Preset:
    chosen = checked(preset.model_dump(exclude={"id", "created_at", "updated_at"}), f"presets[{at}]")
    return Preset(
        id=preset.id, project=project, owner=owner, created=preset.created_at, updated=preset.updated_at, **chosen
    )


def _exported_personal(personal: Personal) -> Json | None:
    if personal.updated is None:
        return None
    fields = {name: getattr(personal, name) for name in PersonalFields.model_fields}
    return {**fields, "updated_at": personal.updated}


def _given_personal(given: PersonalIn) -> Personal:
    return Personal(**given.model_dump(exclude={"updated_at"}), updated=given.updated_at)


def _given(chat: ChatIn, at: int) -> GivenChat:
    where = f"chats[{at}]"
    if len(msgspec.json.encode(chat.settings)) > MAX_SETTINGS_BYTES:
        raise InvalidRequest(f"'settings' has more than {MAX_SETTINGS_BYTES:,} bytes.", param=f"{where}.settings")
    ids: set[str] = set()
    turns: list[GivenTurn] = []
    for number, turn in enumerate(chat.turns):
        place = f"{where}.turns[{number}]"
        if turn.id in ids:
            raise InvalidRequest(f"Two turns have the id '{turn.id}'.", param=f"{place}.id")
        if turn.previous is not None and turn.previous not in ids:
            raise InvalidRequest("A turn goes on from one that stands before it.", param=f"{place}.previous")
        ids.add(turn.id)
        turns.append(_given_turn(turn, place))
    fields = chat.model_dump(exclude={"turns", "created_at", "updated_at"})
    return GivenChat(**fields, created=chat.created_at, updated=chat.updated_at, turns=turns)


def _given_turn(turn: TurnIn, place: str) -> GivenTurn:
    items = {name: [_item(item, place) for item in getattr(turn, name)] for name in ("input", "output")}
    fields = turn.model_dump(exclude={"input", "output", "created_at"})
    try:
        return msgspec.convert({**fields, **items, "created": turn.created_at}, GivenTurn)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"This is no turn of an export: {error}.", param=place) from None


def _item(item: Any, place: str) -> Json:
    made: Json = item.model_dump(exclude_unset=True, by_alias=True)
    if isinstance(item, ItemReferenceIn) or not made.get("id"):
        raise InvalidRequest("Items of an export are whole, each with an id.", param=place)
    if made["type"] == "message" and isinstance(made["content"], str):
        raise InvalidRequest("Messages of an export have parts.", param=place)
    return made


def transfer_operations(services: Services, stateful: Stateful) -> list[Operation]:
    """Both operations, for the table of the application."""
    routes = TransferRoutes(services, stateful)
    asks = partial(Operation, dialect="openai", needs="inference", extra_status=(400, 503))
    return [
        asks(method="GET", path="/v1/x/chats/export", handler=routes.export, name="x_chats_export",
             summary="All of one's chats as one document", reply="application/json"),
        asks(method="POST", path="/v1/x/chats/import", handler=routes.take, name="x_chats_import",
             summary="Keep chats of an export, or of ChatGPT's", body=ImportRequest, reply=Imported),
    ]  # fmt: skip
