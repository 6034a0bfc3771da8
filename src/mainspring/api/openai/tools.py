"""Tools on the way in: from OpenAI's several forms to one, and what a conversation must hold about calls."""

from collections.abc import Iterator

import msgspec

from mainspring.api.openai import wire, wire_tools
from mainspring.api.openai.schema import Place, check_schema
from mainspring.core.errors import InvalidRequest
from mainspring.core.types import Constraint, Message, Tool, ToolCall, ToolUse

__all__ = ["messages", "tool_use"]

NO_ARGUMENTS = '{"type":"object","properties":{}}'


def tool_use(body: wire.DeploymentChatRequest) -> ToolUse | None:
    """The tools of a request and how they may be used; None if it has none.

    Raises:
        InvalidRequest: two tools of one name, a choice of one that does not exist, a schema that is not strict.
    """
    if body.functions is not None and body.tools is not None:
        raise InvalidRequest("'functions' is the older name of 'tools': send only one of them.", param="functions")
    if body.functions:
        return _legacy(body.functions, body.function_call)
    if body.function_call is not None and body.function_call not in ("none", "auto"):
        raise InvalidRequest("'function_call' is only allowed when 'functions' are specified.", param="function_call")
    if not body.tools:
        if body.tool_choice not in (None, "none", "auto"):
            raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        return None
    tools = tuple(_tool(tool, at) for at, tool in enumerate(body.tools))
    _check_names(tools, "tools")
    return _chosen(tools, body.tool_choice, parallel=body.parallel_tool_calls is not False)


def _tool(tool: wire_tools.FunctionTool | wire_tools.CustomTool, at: int) -> Tool:
    if isinstance(tool, wire_tools.FunctionTool):
        function = tool.function
        return _function(function, f"tools[{at}].function.parameters", strict=bool(function.strict))
    wanted = tool.custom.format
    custom = None
    if isinstance(wanted, wire_tools.GrammarFormat):
        custom = Constraint(wanted.grammar.syntax, wanted.grammar.definition)
    return Tool(name=tool.custom.name, description=tool.custom.description or "", is_custom=True, custom=custom)


def _function(function: wire_tools.Function, param: str, *, strict: bool) -> Tool:
    parameters = NO_ARGUMENTS
    if function.parameters:
        place = Place.function(param, function.name)
        if function.parameters.get("type", "object") != "object":
            raise InvalidRequest(
                f"Invalid schema for {place.what}: in {param}, the root must have type 'object', not "
                f"{str(function.parameters['type'])[:40]!r}.",
                code=place.code,
                param=param,
            )
        parameters = check_schema(function.parameters, place, strict=strict)
    return Tool(name=function.name, description=function.description or "", parameters=parameters, strict=strict)


def _legacy(functions: list[wire_tools.Function], choice: object) -> ToolUse:
    tools = tuple(_function(one, f"functions[{at}].parameters", strict=False) for at, one in enumerate(functions))
    _check_names(tools, "functions")
    if isinstance(choice, wire_tools.Named):
        _check_known(choice.name, tools, "function_call")
        return ToolUse(tools=tools, choice="required", allowed=(choice.name,), parallel=False)
    return ToolUse(tools=tools, choice="none" if choice == "none" else "auto", parallel=False)


def _check_names(tools: tuple[Tool, ...], param: str) -> None:
    seen: set[str] = set()
    for at, tool in enumerate(tools):
        if tool.name in seen:
            raise InvalidRequest(f"Two of the tools are called {tool.name!r}.", param=f"{param}[{at}]")
        seen.add(tool.name)


def _check_known(name: str, tools: tuple[Tool, ...], param: str) -> None:
    if not any(tool.name == name for tool in tools):
        raise InvalidRequest(f"No tool of this request is called {name!r}.", param=param)


def _chosen(tools: tuple[Tool, ...], choice: wire_tools.ToolChoice | None, *, parallel: bool) -> ToolUse:
    if choice is None or isinstance(choice, str):
        return ToolUse(tools=tools, choice=choice or "auto", parallel=parallel)
    if isinstance(choice, wire_tools.AllowedTools):
        names = tuple(wire_tools.named(tool) for tool in choice.allowed_tools.tools)
        for at, name in enumerate(names):
            _check_known(name, tools, f"tool_choice.allowed_tools.tools[{at}]")
        return ToolUse(tools=tools, choice=choice.allowed_tools.mode, allowed=names, parallel=parallel)
    name = wire_tools.named(choice)
    _check_known(name, tools, f"tool_choice.{choice.type}.name")
    return ToolUse(tools=tools, choice="required", allowed=(name,), parallel=False)


def messages(body: wire.DeploymentChatRequest) -> tuple[Message, ...]:
    """The conversation below the edge; results stand after the calls that they belong to.

    Raises:
        InvalidRequest: a result without a call, or a call without its result before the conversation goes on.
    """
    return tuple(_conversation(body.messages))


def _conversation(given: list[wire.Message]) -> Iterator[Message]:
    open_: dict[str, int] = {}  # calls without a result yet, and the message that made them
    legacy: str | None = None  # the id that we gave to the last call of the older form
    for at, message in enumerate(given):
        if isinstance(message, wire.ToolMessage):
            if open_.pop(message.tool_call_id, None) is None:
                raise InvalidRequest(
                    "Messages with role 'tool' must be a response to a preceding message with 'tool_calls', by its "
                    "'tool_call_id'.",
                    param=f"messages[{at}].tool_call_id",
                )
            yield Message(role="tool", content=_text(message.content), tool_call_id=message.tool_call_id)
            continue
        if isinstance(message, wire.FunctionMessage):
            yield Message(
                role="tool", content=message.content or "", name=message.name, tool_call_id=legacy or "call_0"
            )
            continue
        if open_:
            raise InvalidRequest(
                "An assistant message with 'tool_calls' must be followed by tool messages that answer each "
                f"'tool_call_id'. Without an answer: {', '.join(open_)}.",
                param=f"messages[{at}].role",
            )
        if isinstance(message, wire.AssistantMessage):
            calls = tuple(_call(call) for call in message.tool_calls or ())
            open_ = {call.id: at for call in calls}
            if message.function_call is not None:
                legacy = f"call_{at}"
                calls += (ToolCall(legacy, message.function_call.name, message.function_call.arguments),)
            if message.content is None and not calls and message.refusal is None:
                raise InvalidRequest(
                    "An assistant message needs 'content' unless it has 'tool_calls'.", param=f"messages[{at}].content"
                )
            content = _text(message.content) or message.refusal or ""
            yield Message(role="assistant", content=content, name=message.name, tool_calls=calls)
        else:
            yield Message(role=message.role, content=_text(message.content), name=message.name)


def _call(call: wire_tools.FunctionCall | wire_tools.CustomCall) -> ToolCall:
    if isinstance(call, wire_tools.FunctionCall):
        return ToolCall(call.id, call.function.name, call.function.arguments)
    return ToolCall(call.id, call.custom.name, msgspec.json.encode({"input": call.custom.input}).decode())


def _text(content: str | list[wire.TextPart] | list[wire.TextPart | wire.RefusalPart] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text if isinstance(part, wire.TextPart) else part.refusal for part in content or [])
