"""Presets, under /v1/x/presets: what a chat may begin with, saved. The pages call them assistants; OpenAI has an API
of that name, which is another thing.

The server reads nothing of a preset when a turn is asked for: whoever begins a chat with one sends what is in it, and
so the chat stays as it began when the preset is changed. A preset is its owner's. One that is shared can be read by all
of the project, and copied; for everybody else a preset that is not shared is not there.
"""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response as HttpResponse

from mainspring.api.body import read_body
from mainspring.api.chats import NO_NUL
from mainspring.api.context import context_of
from mainspring.api.openai import replies
from mainspring.api.openai.pages import part_of
from mainspring.api.openai.wire_base import Wire
from mainspring.api.openapi import Operation
from mainspring.api.services import Services, Stateful
from mainspring.core.errors import InvalidRequest
from mainspring.governance.roles import allows
from mainspring.store import presets as kept

__all__ = ["PresetFields", "checked", "preset_operations"]

MAX_PRESET_BYTES = 24 * 1024
"""Of the JSON of all fields: the settings of a chat, which have 32 KB, hold a copy of the preset it began with."""

Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]
Starter = Annotated[str, Field(min_length=1, max_length=300, pattern=NO_NUL)]


class PresetSettings(Wire):
    """The model and its parameters. What is absent is the server's to choose."""

    model: str | None = Field(None, min_length=1, max_length=256, pattern=NO_NUL)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_output_tokens: int | None = Field(None, ge=16, le=2**31 - 1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)


class PresetFields(Wire):
    """What a preset's owner chooses. All of it together has at most 24 KB as JSON."""

    description: str = Field("", max_length=300, pattern=NO_NUL)
    icon: str = Field("", max_length=16, pattern=NO_NUL, description="An emoji or a letter.")
    instructions: str = Field("", max_length=16_000, pattern=NO_NUL)
    settings: PresetSettings = Field(
        default_factory=lambda: PresetSettings.model_validate({}), description="The model and its parameters."
    )
    vector_store: str | None = Field(
        None, min_length=1, max_length=64, pattern=NO_NUL, description="Where its files are: a vector store's id."
    )
    starters: list[Starter] = Field([], max_length=4, description="What a chat may be begun with.")
    shared: bool = Field(False, description="Whether everybody in the project can read and copy it.")


class CreatePresetRequest(PresetFields):
    """A new preset."""

    name: Name


class UpdatePresetRequest(PresetFields):
    """What is to change of a preset: what was sent. `settings` and `starters` are replaced as a whole."""

    name: Name | None = None


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """A preset. `mine` says whether whoever asks may change it."""

    id: str
    object: Literal["preset"] = "preset"
    created_at: int
    updated_at: int
    name: str
    description: str
    icon: str
    instructions: str
    settings: dict[str, Any]
    vector_store: str | None
    starters: list[str]
    shared: bool
    mine: bool

    @classmethod
    def of(cls, preset: kept.Preset, person: str) -> "Preset":
        """From what is kept, for whoever asks."""
        return cls(
            id=preset.id, created_at=int(preset.created), updated_at=int(preset.updated), name=preset.name,
            description=preset.description, icon=preset.icon, instructions=preset.instructions,
            settings=preset.settings, vector_store=preset.vector_store, starters=preset.starters, shared=preset.shared,
            mine=preset.owner == person,
        )  # fmt: skip


class PresetList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of presets, the newest first; the ids of an empty page are empty."""

    object: Literal["list"] = "list"
    data: list[Preset]
    first_id: str
    last_id: str
    has_more: bool


class PresetDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """That a preset is gone."""

    id: str
    object: Literal["preset.deleted"] = "preset.deleted"
    deleted: bool = True


def checked(fields: dict[str, Any], param: str | None = None) -> dict[str, Any]:
    """Fields of a preset as they are kept: without settings that say nothing.

    Raises:
        InvalidRequest: they are too large together.
    """
    if "settings" in fields:
        fields["settings"] = {name: value for name, value in fields["settings"].items() if value is not None}
    if len(msgspec.json.encode(fields)) > MAX_PRESET_BYTES:
        raise InvalidRequest(f"A preset has at most {MAX_PRESET_BYTES:,} bytes.", param=param)
    return fields


class PresetRoutes:
    """The handlers."""

    def __init__(self, services: Services, stateful: Stateful) -> None:
        self._services, self._presets = services, stateful.presets

    async def create(self, http: Request) -> HttpResponse:
        """Save one."""
        body = await read_body(http, CreatePresetRequest, self._services.max_body_bytes)
        project, person = _who(http)
        made = await self._presets.create(project, person, **checked(body.model_dump()))
        return replies.json(Preset.of(made, person))

    async def list(self, http: Request) -> HttpResponse:
        """Those that whoever asks sees."""
        project, person = _who(http)
        found, more = await self._presets.list(project, person, **part_of(http))
        ids = (found[0].id, found[-1].id) if found else ("", "")
        data = [Preset.of(each, person) for each in found]
        return replies.json(PresetList(data=data, first_id=ids[0], last_id=ids[1], has_more=more))

    async def retrieve(self, http: Request) -> HttpResponse:
        """One of them."""
        project, person, id = _named(http)  # noqa: A001
        return replies.json(Preset.of(await self._presets.get(project, person, id), person))

    async def update(self, http: Request) -> HttpResponse:
        """Change what was sent of it."""
        body = await read_body(http, UpdatePresetRequest, self._services.max_body_bytes)
        project, person, id = _named(http)  # noqa: A001
        sent = body.model_dump(include=body.model_fields_set)
        if sent.get("name", "") is None:
            raise InvalidRequest("A preset has a name.", param="name")
        before = await self._presets.get(project, person, id)
        chosen = {name: getattr(before, name) for name in CreatePresetRequest.model_fields}
        checked({**chosen, **checked(sent)})
        return replies.json(Preset.of(await self._presets.update(project, person, id, **checked(sent)), person))

    async def delete(self, http: Request) -> HttpResponse:
        """Forget it. Administrators may remove what others have shared."""
        project, person, id = _named(http)  # noqa: A001
        principal = context_of(http).principal
        moderates = principal is not None and allows(principal.roles_in(project), "projects.write")
        await self._presets.remove(project, person, id, moderates=moderates)
        return replies.json(PresetDeleted(id=id))


def _who(http: Request) -> tuple[str, str]:
    context = context_of(http)
    return context.project, context.person


def _named(http: Request) -> tuple[str, str, str]:
    return *_who(http), http.path_params["preset_id"]


def preset_operations(services: Services, stateful: Stateful) -> list[Operation]:
    """The operations, for the table of the application."""
    routes, path = PresetRoutes(services, stateful), "/v1/x/presets"
    asks = partial(Operation, dialect="openai", needs="inference", extra_status=(400, 503))
    one = f"{path}/{{preset_id}}"
    return [
        asks(method="POST", path=path, handler=routes.create, name="x_presets_create",
             summary="Save what chats may begin with", body=CreatePresetRequest, reply=Preset),
        asks(method="GET", path=path, handler=routes.list, name="x_presets_list",
             summary="List one's presets, and those that the project shares", reply=PresetList,
             query=("page/after", "page/limit")),
        asks(method="GET", path=one, handler=routes.retrieve, name="x_presets_retrieve", summary="Describe a preset",
             reply=Preset),
        asks(method="POST", path=one, handler=routes.update, name="x_presets_update", summary="Change a preset",
             body=UpdatePresetRequest, reply=Preset),
        asks(method="DELETE", path=one, handler=routes.delete, name="x_presets_delete", summary="Delete a preset",
             reply=PresetDeleted),
    ]  # fmt: skip
