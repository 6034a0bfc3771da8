"""What is stored of chats and responses, as items of a run: what was asked as messages of a chat, the answer as its
sample."""

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from mainspring.core.errors import InvalidRequest
from mainspring.core.types import FinishReason
from mainspring.evals.sample import item_of
from mainspring.evals.spec import Origin
from mainspring.graders.run import sample_of
from mainspring.store.response_filter import responses_wanted
from mainspring.store.responses import Kept, chain_of, items_of
from mainspring.store.stored_chats import page_of

__all__ = ["logged"]

Json = dict[str, Any]


async def logged(
    connection: AsyncConnection, project: str, origin: Origin, *, after: tuple[float, str] | None, limit: int,
    now_s: float,
) -> list[tuple[Json, tuple[float, str]]]:  # fmt: skip
    """Items behind (created, id) of another one, the oldest first, and where each of them stands."""
    if origin.kind == "chats":
        chats = await page_of(connection, project, origin.chats, after=after, limit=limit, now_s=now_s)
        return [(item_of(chat), (chat.created, chat.id)) for chat in chats]
    found = await responses_wanted(connection, project, origin.responses, after=after, limit=limit, now_s=now_s)
    return [(await _item_of_response(connection, kept, now_s), (kept.created, kept.id)) for kept in found]


async def _item_of_response(connection: AsyncConnection, kept: Kept, now_s: float) -> Json:
    """Of a response that is over. What it went on from belongs to what was asked, if it is still there; what stands in
    a conversation does not, since that may have gone on."""
    output = [entry.item for entry in await items_of(connection, kept.id, is_output=True)]
    try:
        said = [entry.item for entry in await chain_of(connection, kept, now_s)]
        asked = said[: len(said) - len(output)]
    except InvalidRequest:
        asked = [entry.item for entry in await items_of(connection, kept.id, is_output=False)]
    body = kept.body
    instructions = body.get("instructions")
    system = [{"role": "system", "content": instructions}] if isinstance(instructions, str) and instructions else []
    item = {
        "input": [*system, *_messages(asked)], "model": body["model"], "metadata": _object(body, "metadata"),
        "id": kept.id,
    }  # fmt: skip
    return {"item": item, "sample": _sample(body, _messages(output))}


def _object(body: Json, name: str) -> Json:
    return cast("Json", body.get(name) or {})


def _sample(body: Json, said: Sequence[Json]) -> Json:
    text = "".join(each["content"] for each in said if each["role"] == "assistant")
    calls = [call for each in said for call in each.get("tool_calls", ())]
    cut = _object(body, "incomplete_details")
    reason: FinishReason = "tool_calls" if calls else "stop"
    if cut:
        reason = "content_filter" if cut.get("reason") == "content_filter" else "length"
    used = _object(body, "usage")
    return {
        **sample_of(text, tools=calls, finish_reason=reason),
        "model": body["model"],
        "usage": {
            "total_tokens": used.get("total_tokens", 0),
            "completion_tokens": used.get("output_tokens", 0),
            "prompt_tokens": used.get("input_tokens", 0),
            "cached_tokens": _object(used, "input_tokens_details").get("cached_tokens", 0),
        },
    }


def _messages(items: Sequence[Json]) -> list[Json]:
    """Messages and the client's calls; what is only about how an answer came about is left out."""
    found: list[Json] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            found.append({"role": item["role"], "content": _text(item.get("content"))})
        elif kind in ("function_call", "custom_tool_call"):
            known = "function" if kind == "function_call" else "custom"
            given = {"arguments": item["arguments"]} if known == "function" else {"input": item["input"]}
            call = {"id": item["call_id"], "type": known, known: {"name": item["name"], **given}}
            found.append({"role": "assistant", "content": "", "tool_calls": [call]})
        elif kind in ("function_call_output", "custom_tool_call_output"):
            found.append({"role": "tool", "content": _text(item.get("output")), "tool_call_id": item["call_id"]})
    return found


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[Json]", content or ())
    return "".join(str(part.get("text") or "") for part in parts)
