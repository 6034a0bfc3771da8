"""evals: evaluations, their runs, and what came of each item: parse, call `evals.evals`, render."""

from functools import partial
from typing import Any, Literal, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring.api.body import read_body
from mainspring.api.context import context_of
from mainspring.api.errors import Dialect
from mainspring.api.openai import replies, request, wire
from mainspring.api.openai.chat import constraint_of, thinking_of
from mainspring.api.openai.pages import chosen, page_of
from mainspring.api.openai.replies_evals import (
    EvalGone,
    EvalList,
    EvalObject,
    EvalRun,
    EvalRunGone,
    EvalRunList,
    OutputItem,
    OutputItemList,
)
from mainspring.api.openai.tools import tool_use
from mainspring.api.openai.wire_evals import (
    CompletionsSourceIn,
    CreateEvalRequest,
    CreateEvalRunRequest,
    EvalSamplingIn,
    FileContentIn,
    FileIdIn,
    ItemReferenceIn,
    JsonlSourceIn,
    ResponsesSamplingIn,
    ResponsesSourceIn,
    StoredCompletionsIn,
    StoredResponsesIn,
    TemplateMessageIn,
    UpdateEvalRequest,
)
from mainspring.api.openapi import Operation
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest
from mainspring.evals.evals import Evals, Run
from mainspring.evals.spec import Origin, PartMessage, Sampler
from mainspring.governance.roles import allows
from mainspring.graders import template
from mainspring.store.response_filter import ResponseFilter
from mainspring.store.stored_chats import ChatFilter

__all__ = ["EvalRoutes", "eval_operations"]

_Source = JsonlSourceIn | CompletionsSourceIn | ResponsesSourceIn
SEED = 42
"""OpenAI's default: runs can be compared."""


class EvalRoutes:
    """The handlers, the same ones in every dialect."""

    def __init__(self, services: Services, evals: Evals) -> None:
        self._services, self._evals = services, evals

    async def create(self, http: Request) -> Response:
        """Make an evaluation."""
        body = await read_body(http, CreateEvalRequest, self._services.max_body_bytes)
        context = context_of(http)
        assert context.principal is not None, "the route needs a permission"
        made = await self._evals.create(
            project=context.project, by=context.principal.id, name=body.name or "", labels=body.metadata,
            config=body.data_source_config.model_dump(exclude_none=True), criteria=body.testing_criteria,
            may_run_code=allows(context.principal.roles_in(context.project), "graders.run"),
        )  # fmt: skip
        return _made(EvalObject.of(made))

    async def list(self, http: Request) -> Response:
        """Those of the project."""
        wanted = page_of(http, descending=False)
        by = chosen(http, "order_by", ("created_at", "updated_at")) or "created_at"
        found, more = await self._evals.list(
            context_of(http).project, **wanted,
            order_by="created" if by == "created_at" else "updated",
        )  # fmt: skip
        data = [EvalObject.of(each) for each in found]
        return replies.json(EvalList(data=data, has_more=more, **_ends(data)))

    async def retrieve(self, http: Request) -> Response:
        """One."""
        return replies.json(EvalObject.of(await self._evals.get(*_eval(http))))

    async def update(self, http: Request) -> Response:
        """Name or label one."""
        body = await read_body(http, UpdateEvalRequest, self._services.max_body_bytes)
        fields: dict[str, Any] = {} if body.name is None else {"name": body.name}
        if body.metadata is not None:
            fields["labels"] = body.metadata
        return replies.json(EvalObject.of(await self._evals.update(*_eval(http), **fields)))

    async def delete(self, http: Request) -> Response:
        """Delete one with its runs."""
        project, id = _eval(http)  # noqa: A001 - what the API calls it
        await self._evals.remove(project, id)
        return replies.json(EvalGone(eval_id=id))

    async def start(self, http: Request) -> Response:
        """Make a run."""
        body = await read_body(http, CreateEvalRunRequest, self._services.max_body_bytes)
        project, id = _eval(http)  # noqa: A001 - what the API calls it
        principal, source = context_of(http).principal, body.data_source
        assert principal is not None, "the route needs a permission"
        run = await self._evals.start(
            project, id, by=principal.id, name=body.name, labels=body.metadata,
            source=source.model_dump(mode="json", by_alias=True, exclude_none=True), origin=_origin(source),
            sampler=None if isinstance(source, JsonlSourceIn) else _sampler(source), items=_items(source),
        )  # fmt: skip
        return _made(await self._shown(http, run))

    async def runs(self, http: Request) -> Response:
        """Runs of one evaluation."""
        wanted = page_of(http, descending=False)
        status = chosen(http, "status", ("queued", "in_progress", "completed", "canceled", "failed"))
        found, more = await self._evals.runs(*_eval(http), status=status, **wanted)
        criteria = (await self._evals.get(*_eval(http))).criteria
        data = [EvalRun.of(each, criteria, _report(http, each)) for each in found]
        return replies.json(EvalRunList(data=data, has_more=more, **_ends(data)))

    async def run(self, http: Request) -> Response:
        """One run."""
        return replies.json(await self._shown(http, await self._evals.run(*_run(http))))

    async def cancel(self, http: Request) -> Response:
        """End a run for good."""
        return replies.json(await self._shown(http, await self._evals.cancel(*_run(http))))

    async def delete_run(self, http: Request) -> Response:
        """Delete a run."""
        await self._evals.remove_run(*_run(http))
        return replies.json(EvalRunGone(run_id=http.path_params["run_id"]))

    async def items(self, http: Request) -> Response:
        """What came of a run's items so far."""
        wanted = page_of(http, descending=False)
        status = cast("Literal['pass', 'fail'] | None", chosen(http, "status", ("fail", "pass")))
        found, more = await self._evals.items(*_run(http), status=status, **wanted)
        data = [OutputItem.of(each, http.path_params["eval_id"]) for each in found]
        return replies.json(OutputItemList(data=data, has_more=more, **_ends(data)))

    async def item(self, http: Request) -> Response:
        """What came of one item."""
        found = await self._evals.item(*_run(http), http.path_params["output_item_id"])
        return replies.json(OutputItem.of(found, http.path_params["eval_id"]))

    async def _shown(self, http: Request, run: Run) -> EvalRun:
        found = await self._evals.get(*_eval(http))
        return EvalRun.of(run, found.criteria, _report(http, run))


def _made(body: msgspec.Struct) -> Response:
    return Response(replies.encode(body), 201, media_type="application/json")


def _ends(data: list[Any]) -> dict[str, str]:
    return {"first_id": data[0].id, "last_id": data[-1].id} if data else {"first_id": "", "last_id": ""}


def _eval(http: Request) -> tuple[str, str]:
    return context_of(http).project, http.path_params["eval_id"]


def _run(http: Request) -> tuple[str, str, str]:
    return *_eval(http), http.path_params["run_id"]


def _report(http: Request, run: Run) -> str:
    """Where the output items are, as the client reaches this server."""
    path: str = http.scope["path"]
    prefix = path[: path.index("/evals")]
    query = f"?{http.url.query}" if context_of(http).dialect == "azure" and http.url.query else ""
    eval_id = http.path_params["eval_id"]
    return f"{http.url.scheme}://{http.url.netloc}{prefix}/evals/{eval_id}/runs/{run.job.id}/output_items{query}"


def _items(source: _Source) -> list[dict[str, Any]]:
    if not isinstance(source.source, FileContentIn):
        return []
    return [each.model_dump(exclude_none=True, exclude={"item"}) | {"item": each.item}
            for each in source.source.content]  # fmt: skip


def _origin(source: _Source) -> Origin:
    given = source.source
    if isinstance(given, StoredCompletionsIn):
        chats = ChatFilter(
            model=given.model, labels=given.metadata or {}, since=given.created_after, until=given.created_before
        )
        return Origin(kind="chats", chats=chats, limit=given.limit)
    if isinstance(given, StoredResponsesIn):
        return Origin(kind="responses", responses=_responses(given))
    return Origin(kind="file", file=given.id) if isinstance(given, FileIdIn) else Origin(kind="content")


def _responses(given: StoredResponsesIn) -> ResponseFilter:
    return ResponseFilter(
        model=given.model, labels=given.metadata or {}, instructions=given.instructions_search or "",
        since=given.created_after, until=given.created_before, effort=given.reasoning_effort,
        temperature=given.temperature, top_p=given.top_p, users=tuple(given.users or ()),
        tools=tuple(given.tools or ()),
    )  # fmt: skip


def _sampler(source: CompletionsSourceIn | ResponsesSourceIn) -> Sampler | None:
    """How a model answers items; None if stored answers are graded. Raises InvalidRequest."""
    asked = source.input_messages
    if asked is None:
        if not isinstance(source.source, StoredCompletionsIn | StoredResponsesIn):
            raise _missing("data_source.input_messages")
        for name in ("model", "sampling_params"):
            if getattr(source, name) is not None:
                raise InvalidRequest(
                    f"'data_source.{name}' without 'data_source.input_messages': stored answers are graded as they "
                    "are. To have them answered anew, give input_messages, such as the item_reference item.input.",
                    param=f"data_source.{name}",
                )
        return None
    if source.model is None:
        raise _missing("data_source.model")
    wanted = source.sampling_params or EvalSamplingIn.model_validate({})
    given = _as_of_chats(wanted) if isinstance(wanted, ResponsesSamplingIn) else wanted
    try:
        body = wire.DeploymentChatRequest.model_construct(**dict(given))
        constraint, tools, sampling = constraint_of(body), tool_use(body), request.sampling(body, None)
    except InvalidRequest as error:
        place = error.param or ""
        if given is not wanted:
            place = place.replace("response_format.json_schema", "text.format").replace("].function.", "].")
        param = f"data_source.sampling_params.{place}" if place else None
        raise InvalidRequest(error.message, code=error.code, param=param) from None
    if given.seed is None:
        sampling = msgspec.structs.replace(sampling, seed=SEED)
    return Sampler(
        model=source.model, max_tokens=given.max_completion_tokens, sampling=sampling, constraint=constraint,
        tools=tools, thinking=thinking_of(body),
        reference=asked.item_reference if isinstance(asked, ItemReferenceIn) else "",
        template=() if isinstance(asked, ItemReferenceIn) else tuple(
            _message(each, f"data_source.input_messages.template[{at}]") for at, each in enumerate(asked.template)
        ),
    )  # fmt: skip


def _as_of_chats(given: ResponsesSamplingIn) -> EvalSamplingIn:
    """The same in the words of chats: there the two APIs ask the same things of a model."""
    fields = given.model_dump(exclude_none=True, by_alias=True)
    text: dict[str, Any] = fields.pop("text", None) or {}
    wanted: dict[str, Any] | None = text.get("format")
    tools = [_nested(tool) for tool in fields.pop("tools", ())]
    for tool in tools:
        if (form := tool.get("custom", {}).get("format")) is not None:
            tool["custom"]["format"] = _nested(form)
    return EvalSamplingIn.model_validate(
        {**fields, "response_format": wanted and _nested(wanted), "tools": tools or None}
    )


def _nested(given: dict[str, Any]) -> dict[str, Any]:
    """What lies beside `type` put below its name."""
    kind = given["type"]
    inner = {name: value for name, value in given.items() if name != "type"}
    return {"type": kind, kind: inner} if inner else given


def _message(given: TemplateMessageIn, where: str) -> PartMessage:
    parts = given.content if isinstance(given.content, list) else [given.content]
    texts = tuple(part if isinstance(part, str) else part.text for part in parts)
    for text in texts:
        found = template.parse(text, f"{where}.content")
        if any(not isinstance(part, str) and part[0] == "sample" for part in found.parts):
            raise InvalidRequest(
                f"Invalid '{where}.content': there is no sample before the model has answered: name the item.",
                param=f"{where}.content",
            )
    return PartMessage(role=given.role, texts=texts)


def _missing(place: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required parameter: '{place}'.", code="missing_required_parameter", param=place)


_PAGE = ("page/after", "page/limit", "page/order")


def eval_operations(services: Services, evals: Evals, prefix: str, dialect: Dialect) -> list[Operation]:
    """Every route of a dialect, for the table of the application."""
    routes, asks, name = EvalRoutes(services, evals), partial(Operation, dialect=dialect), f"{dialect}_evals"
    reads = partial(asks, method="GET", needs="evals.read", extra_status=(400, 503))
    posts, deletes = partial(asks, method="POST", needs="evals"), partial(asks, method="DELETE", needs="evals")
    every, one = f"{prefix}/evals", f"{prefix}/evals/{{eval_id}}"
    runs, run = f"{one}/runs", f"{one}/runs/{{run_id}}"
    items = f"{run}/output_items"
    return [
        posts(path=every, handler=routes.create, name=f"{name}_create", summary="Make an evaluation",
              body=CreateEvalRequest, reply=EvalObject, success=(201,)),
        reads(path=every, handler=routes.list, name=f"{name}_list", summary="List evaluations", reply=EvalList,
              query=(*_PAGE, "evals/order_by")),
        reads(path=one, handler=routes.retrieve, name=f"{name}_retrieve", summary="Describe an evaluation",
              reply=EvalObject),
        posts(path=one, handler=routes.update, name=f"{name}_update", summary="Name or label an evaluation",
              body=UpdateEvalRequest, reply=EvalObject),
        deletes(path=one, handler=routes.delete, name=f"{name}_delete", summary="Delete an evaluation and its runs",
                reply=EvalGone, extra_status=(503,)),
        posts(path=runs, handler=routes.start, name=f"{name}_runs_create", summary="Run an evaluation",
              body=CreateEvalRunRequest, reply=EvalRun, success=(201,)),
        reads(path=runs, handler=routes.runs, name=f"{name}_runs_list", summary="List runs of an evaluation",
              reply=EvalRunList, query=(*_PAGE, "runs/status")),
        reads(path=run, handler=routes.run, name=f"{name}_runs_retrieve", summary="Describe a run", reply=EvalRun),
        *(
            # OpenAI's document has the one, and both official packages ask for the other.
            posts(path=path, handler=routes.cancel, name=f"{name}_runs_{verb}", summary="Cancel a run", reply=EvalRun,
                  extra_status=(400, 503))
            for path, verb in ((run, "cancel"), (f"{run}/cancel", "cancel_by_name"))
        ),
        deletes(path=run, handler=routes.delete_run, name=f"{name}_runs_delete", summary="Delete a run",
                reply=EvalRunGone, extra_status=(503,)),
        reads(path=items, handler=routes.items, name=f"{name}_output_items_list",
              summary="List what came of a run's items", reply=OutputItemList, query=(*_PAGE, "output_items/status")),
        reads(path=f"{items}/{{output_item_id}}", handler=routes.item, name=f"{name}_output_items_retrieve",
              summary="What came of one item", reply=OutputItem),
    ]  # fmt: skip
