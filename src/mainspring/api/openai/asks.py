"""From the bodies of responses and conversations to what is to be made, and to how it is shown."""

from typing import Any

from starlette.requests import Request

from mainspring.api.context import Context
from mainspring.api.openai import wire_responses as wire
from mainspring.api.openai.request import tier, told
from mainspring.api.openai.schema import Place, check_schema
from mainspring.api.openai.tools import NO_ARGUMENTS
from mainspring.core.errors import InvalidRequest
from mainspring.core.ids import new_id
from mainspring.core.types import Constraint, ModelInfo, Sampling, Tool
from mainspring.responses.ask import Ask, Selector
from mainspring.responses.items import Response, ResponseConversation
from mainspring.responses.shown import LOGPROBS

__all__ = ["ask_of", "include_of", "items_of", "response_of"]

Json = dict[str, Any]
Body = wire.CreateResponseRequest | wire.CountTokensRequest | wire.CompactResponseRequest

PREFIXES = {
    "message": "msg_", "function_call": "fc_", "function_call_output": "fco_", "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_", "reasoning": "rs_", "compaction": "cmp_", "mcp_approval_response": "mcpa_",
}  # fmt: skip


def items_of(given: Any) -> tuple[Json, ...]:
    """Input as items in the form that they are kept and shown in: each with an id, messages with parts.

    Raises:
        InvalidRequest: a part of a message that its author does not write.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        return (_message({"role": "user", "content": given}, 0),)
    return tuple(_item(item.model_dump(exclude_none=True), at) for at, item in enumerate(given))


def _item(item: Json, at: int) -> Json:
    kind = item["type"]
    if kind == "message":
        return _message(item, at)
    if kind == "item_reference":
        return item
    if kind not in PREFIXES:  # a tool of the server's has made it
        return item
    status = {} if kind in ("reasoning", "compaction", "mcp_approval_response") else {"status": "completed"}
    return {"id": new_id(PREFIXES[kind]), **status, **item}


def _message(item: Json, at: int) -> Json:
    content = item["content"]
    said = "output_text" if item["role"] == "assistant" else "input_text"
    parts: list[Json] = [{"type": said, "text": content}] if isinstance(content, str) else content
    made: list[Json] = []
    for number, part in enumerate(parts):
        if item["role"] != "assistant" and part["type"] != "input_text":
            raise InvalidRequest(
                f"Invalid value: '{part['type']}'. Messages of the {item['role']} have parts of type 'input_text'.",
                param=f"input[{at}].content[{number}].type",
            )
        made.append(_said(part) if item["role"] == "assistant" else part)
    rest = {"id": item.get("id") or new_id("msg_"), "status": item.get("status") or "completed"}
    return {"type": "message", "role": item["role"], "content": made, **rest}


def _said(part: Json) -> Json:
    if part["type"] == "refusal":
        return part
    return {"type": "output_text", "text": part["text"], "annotations": part.get("annotations") or [], "logprobs": []}


def ask_of(body: Body, http: Context, found: ModelInfo, *, id: str, deadline_s: float) -> Ask:  # noqa: A002
    """What is to be made.

    Raises:
        InvalidRequest: what no single field can tell.
    """
    input_ = items_of(body.input)
    conversation = None
    more: Json = {}
    if not isinstance(body, wire.CompactResponseRequest):
        conversation = body.conversation if isinstance(body.conversation, str | None) else body.conversation.id
        more |= _tool_fields(body) | _answer_fields(body)
    if isinstance(body, wire.CreateResponseRequest):
        more |= _create_fields(body, http)
    if conversation is not None and body.previous_response_id is not None:
        raise InvalidRequest(
            "'previous_response_id' and 'conversation' both say what to go on from: send only one of them.",
            param="conversation",
        )
    if not input_ and conversation is None and body.previous_response_id is None:
        raise InvalidRequest(
            "Missing required parameter: 'input'.", code="missing_required_parameter", param="input"
        )  # fmt: skip
    return Ask(
        id=id, model=found.id, project=http.project, tenant=http.principal.id if http.principal else "",
        owner=http.person,
        spillover=http.spillover, instructions=body.instructions, input=input_, previous=body.previous_response_id,
        conversation=conversation, deadline_s=deadline_s, **more,
    )  # fmt: skip


def _create_fields(body: wire.CreateResponseRequest, http: Context) -> Json:
    include = tuple(body.include or ())
    if body.top_logprobs and LOGPROBS not in include:
        raise InvalidRequest(f"'top_logprobs' needs '{LOGPROBS}' in 'include'.", param="top_logprobs")
    stores, background = body.store is not False, bool(body.background)
    if background and not stores:
        raise InvalidRequest("A response in the background is kept: 'store' cannot be false.", param="store")
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is true.", param="stream_options"
        )
    greedy = body.top_p == 0
    return {
        "sampling": Sampling(
            temperature=0.0 if greedy else 1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if greedy or body.top_p is None else body.top_p,
            logprobs=(body.top_logprobs or 0) if LOGPROBS in include else None,
        ),
        "max_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "include": include,
        "tier": tier(http, body.service_tier),
        "stores": stores,
        "streams": bool(body.stream),
        "background": background,
    }


def _answer_fields(body: wire.CreateResponseRequest | wire.CountTokensRequest) -> Json:
    effort = body.reasoning.effort if body.reasoning is not None else None
    return {
        "constraint": _constraint(body.text),
        "thinking": None if effort is None else effort not in ("none", "minimal"),
        "summary": _summary(body.reasoning) is not None,
        "truncates": body.truncation == "auto",
    }


def _summary(options: wire.ReasoningOptionsIn | None) -> str | None:
    return None if options is None else options.summary or options.generate_summary


def _constraint(text: wire.ResponseTextIn | None) -> Constraint | None:
    wanted = text.format if text is not None else None
    if isinstance(wanted, wire.ResponseJsonSchemaIn):
        place = Place("text.format.schema", f"text.format '{wanted.name}'", "invalid_json_schema")
        return Constraint("json_schema", check_schema(wanted.schema_, place, strict=bool(wanted.strict)))
    return Constraint("json_object") if wanted is not None and wanted.type == "json_object" else None


# -- tools -------------------------------------------------------------------------------------------------------------


def _tool_fields(body: wire.CreateResponseRequest | wire.CountTokensRequest) -> Json:
    functions: list[Tool] = []
    definitions: list[tuple[int, Json]] = []
    for at, tool in enumerate(body.tools or ()):
        if isinstance(tool, wire.ResponseFunctionIn):
            functions.append(_function(tool, at))
        elif isinstance(tool, wire.ResponseCustomToolIn):
            functions.append(_custom(tool))
        else:
            _check_kept(tool, at, body)
            definitions.append((at, tool.model_dump(exclude_none=True, by_alias=True)))
    names = [tool.name for tool in functions]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"Two of the tools are called {twice!r}.", param="tools")
    if not body.tools and body.tool_choice not in (None, "none", "auto"):
        raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    choice, allowed = _choice(body.tool_choice)
    for selector in allowed:
        if selector.type in ("function", "custom") and selector.name not in names:
            raise InvalidRequest(f"No tool of this request is called {selector.name!r}.", param="tool_choice")
    return {
        "functions": tuple(functions), "definitions": tuple(definitions), "choice": choice, "allowed": allowed,
        "parallel": body.parallel_tool_calls is not False,
    }  # fmt: skip


SECRET = ("headers", "authorization")
"""Of an MCP server: sent to it, and neither kept nor shown."""


def _check_kept(tool: Any, at: int, body: wire.CreateResponseRequest | wire.CountTokensRequest) -> None:
    """What is made in the background is written down first, and secrets are not."""
    if not isinstance(body, wire.CreateResponseRequest) or not body.background:
        return
    for name in SECRET:
        if getattr(tool, name, None):
            raise InvalidRequest(
                f"'{name}' of an MCP server is not kept, which a response in the background would need: leave it or "
                "'background' out.",
                param=f"tools[{at}].{name}",
            )


def _choice(wanted: Any) -> tuple[str, tuple[Selector, ...]]:
    if wanted is None or isinstance(wanted, str):
        return wanted or "auto", ()
    if isinstance(wanted, wire.AllowedToolsIn):
        return wanted.mode, tuple(map(_selector, wanted.tools))
    return "required", (_selector(wanted),)


def _selector(chosen: Any) -> Selector:
    return Selector(chosen.type, getattr(chosen, "name", None), getattr(chosen, "server_label", None))


def _custom(tool: wire.ResponseCustomToolIn) -> Tool:
    custom = None
    if isinstance(tool.format, wire.ResponseGrammarIn):
        custom = Constraint(tool.format.syntax, tool.format.definition)
    return Tool(name=tool.name, description=tool.description or "", is_custom=True, custom=custom)


def _function(tool: wire.ResponseFunctionIn, at: int) -> Tool:
    place = Place.function(f"tools[{at}].parameters", tool.name)
    if not tool.parameters:
        return Tool(
            name=tool.name, description=tool.description or "", parameters=NO_ARGUMENTS, strict=bool(tool.strict)
        )
    if tool.parameters.get("type", "object") != "object":
        raise InvalidRequest(
            f"Invalid schema for {place.what}: in {place.root}, the root must have type 'object'.",
            code=place.code, param=place.root,
        )  # fmt: skip
    strict = is_strict(tool, place)
    text = check_schema(tool.parameters, place, strict=strict)
    return Tool(name=tool.name, description=tool.description or "", parameters=text, strict=strict)


def is_strict(tool: wire.ResponseFunctionIn, place: Place) -> bool:
    """Whether arguments always match. Here strict is what a schema is if it can be and nobody said otherwise."""
    if tool.strict is not None or not tool.parameters:
        return bool(tool.strict)
    try:
        check_schema(tool.parameters, place, strict=True)
    except InvalidRequest:
        return False
    return True


# -- how it is shown ---------------------------------------------------------------------------------------------------


def response_of(body: wire.CreateResponseRequest, ask: Ask, now_s: int) -> Response:
    """The response at its beginning: what was asked for, and what is taken where nothing was."""
    text: Json = {"format": {"type": "text"}}
    if body.text is not None and body.text.format is not None:
        text = {"format": body.text.format.model_dump(exclude_none=True, by_alias=True)}
    effort = body.reasoning.effort if body.reasoning is not None else None
    choice = body.tool_choice
    more: Json = {} if body.user is None else {"user": body.user}
    return Response(
        id=ask.id, created_at=now_s, status="queued" if ask.background else "in_progress", background=ask.background,
        instructions=body.instructions, max_output_tokens=body.max_output_tokens, max_tool_calls=body.max_tool_calls,
        model=ask.model, parallel_tool_calls=ask.parallel, previous_response_id=ask.previous,
        conversation=ResponseConversation(ask.conversation) if ask.conversation is not None else None,
        prompt_cache_key=body.prompt_cache_key, reasoning={"effort": effort, "summary": _summary(body.reasoning)},
        safety_identifier=body.safety_identifier, service_tier=told(ask.tier), store=ask.stores,
        temperature=1.0 if body.temperature is None else body.temperature, text=text,
        tool_choice="auto" if choice is None else choice if isinstance(choice, str) else choice.model_dump(
            exclude_none=True
        ),
        tools=[_shown_tool(tool, at) for at, tool in enumerate(body.tools or ())],
        top_logprobs=body.top_logprobs or 0, top_p=1.0 if body.top_p is None else body.top_p,
        truncation=body.truncation or "disabled", metadata=body.metadata or {}, **more,
    )  # fmt: skip


def _shown_tool(tool: Any, at: int) -> Json:
    shown: Json = tool.model_dump(exclude_none=True, by_alias=True, exclude=set(SECRET))
    if isinstance(tool, wire.ResponseFunctionIn):
        strict = is_strict(tool, Place.function(f"tools[{at}].parameters", tool.name))
        shown |= {"description": tool.description, "parameters": tool.parameters, "strict": strict}
    return shown


def include_of(http: Request, known: tuple[str, ...]) -> tuple[str, ...]:
    """`include` of a query, as both official clients write it.

    Raises:
        InvalidRequest: a value that is none.
    """
    found = (*http.query_params.getlist("include"), *http.query_params.getlist("include[]"))
    for each in found:
        if each not in known:
            raise InvalidRequest(
                f"Invalid value for 'include': {each[:60]!r}. Supported values are: {', '.join(known)}.",
                param="include",
            )
    return tuple(found)
