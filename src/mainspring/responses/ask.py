"""What a response is to be made of, once the edge has checked it: enough for any server to make it, now or later."""

from typing import Any, Literal

import msgspec

from mainspring.core.types import Constraint, Sampling, Tier, Tool

__all__ = ["Ask", "Selector"]


class Selector(msgspec.Struct, frozen=True):
    """A tool, or all of a type: `label` is an MCP server's."""

    type: str
    name: str | None = None
    label: str | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """See the module.

    Args:
        id: of the response.
        model: the deployment.
        tenant: the id of whoever asks.
        input: items as OpenAI writes them, each with an id; an `item_reference` may be among them.
        functions: tools that the client carries out.
        definitions: of those that the server does, each with its place among the request's tools.
        choice, allowed: see `core.types.ToolUse`; `allowed` of every kind of tool, none means all.
        constraint: what the text must match.
        max_tokens: of all generations together.
        max_tool_calls: calls that the server carries out.
        thinking: see `ChatPrompt`.
        summary: thoughts are shown as summaries.
        include: what to show beside the usual, in OpenAI's words.
        truncates: what does not fit into the context is left out, the oldest first; otherwise it is an error.
        previous: the response that this one goes on from.
        chat: whose turn it is; empty if it is no chat's.
        owner: the person who asks, who stays when keys change: turns of their chats are theirs to go on from.
        prefix: what the answer begins with.
        opening: calls of tools that the server carries out before the model is asked, each a name and JSON arguments.
        deadline_s: seconds that a generation may take.
    """

    id: str
    model: str
    project: str
    tenant: str
    spillover: str | None = None
    instructions: str | None = None
    input: tuple[dict[str, Any], ...] = ()
    functions: tuple[Tool, ...] = ()
    definitions: tuple[tuple[int, dict[str, Any]], ...] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    allowed: tuple[Selector, ...] = ()
    parallel: bool = True
    constraint: Constraint | None = None
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    max_tool_calls: int | None = None
    thinking: bool | None = None
    summary: bool = False
    include: tuple[str, ...] = ()
    truncates: bool = False
    tier: Tier = "default"
    previous: str | None = None
    conversation: str | None = None
    chat: str = ""
    owner: str = ""
    prefix: str = ""
    opening: tuple[tuple[str, str], ...] = ()
    stores: bool = True
    streams: bool = False
    background: bool = False
    deadline_s: float | None = None
