"""ChatGPT's export (`conversations.json`) as chats of ours. Pure.

A conversation there is a tree of messages by id, each naming its parent; hidden nodes (system prompts of the product,
calls of its tools) lie between those that a person sees. Here a turn is what the user said and the answer to it: what
was said on the way from one answer to the next is the next one's input. A question that has no answer is a turn that
was cancelled. Only text is taken; what else a message held is named in brackets.
"""

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.core.ids import new_id
from mainspring.responses.transfer import GivenChat, GivenTurn

__all__ = ["from_chatgpt"]

Json = dict[str, Any]


class _Author(msgspec.Struct, frozen=True):
    role: str = ""


class _Content(msgspec.Struct, frozen=True):
    content_type: str = "text"
    parts: list[Any] | None = None
    text: str | None = None


class _Message(msgspec.Struct, frozen=True):
    author: _Author = _Author()
    content: _Content = _Content()
    create_time: float | None = None
    metadata: Json = {}
    recipient: str = "all"


class _Node(msgspec.Struct):
    id: str
    message: _Message | None = None
    parent: str | None = None
    children: list[str] = []


class _Conversation(msgspec.Struct):
    mapping: dict[str, _Node]
    title: str | None = None
    create_time: float | None = None
    update_time: float | None = None
    current_node: str | None = None
    is_starred: bool | None = None


def from_chatgpt(conversation: Any, now_s: float) -> GivenChat:
    """One conversation of the export.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        found = msgspec.convert(conversation, _Conversation, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"This is no conversation of ChatGPT's export: {error}.", param="conversations") from None
    created = found.create_time or now_s
    title, updated = _clean(found.title or "")[:256], found.update_time or created
    chat = GivenChat(id=new_id("chat_"), created=created, updated=updated, title=title, pinned=bool(found.is_starred))
    answers: dict[str, str] = {}  # node -> the turn that it belongs to
    for node, asked, above in _walk(found):
        turn = _turn(node, asked, answers.get(above or ""), created)
        if turn is not None:
            chat.turns.append(turn)
            answers[node.id] = turn.id
        elif above in answers:
            answers[node.id] = answers[above]
    chat.head = answers.get(found.current_node or "") or (chat.turns[-1].id if chat.turns else None)
    return chat


def _walk(found: _Conversation) -> Iterator[tuple[_Node, list[_Message], str | None]]:
    """Every node after its parent, with what the user said since the last answer above it, and that answer's node."""
    roots = [node for node in found.mapping.values() if node.parent not in found.mapping]
    waiting: list[tuple[_Node, list[_Message], str | None]] = [(node, [], None) for node in reversed(roots)]
    seen: set[str] = set()
    while waiting:
        node, asked, above = waiting.pop()
        if node.id in seen:
            continue  # a tree has each node once; this is none
        seen.add(node.id)
        yield node, asked, above
        if node.message is not None and _is_answer(node.message):
            asked, above = [], node.id
        elif node.message is not None and node.message.author.role == "user" and _text(node.message):
            asked = [*asked, node.message]
        below = [found.mapping[child] for child in node.children if child in found.mapping]
        waiting += [(child, asked, above) for child in reversed(below)]


def _is_answer(message: _Message) -> bool:
    shown = message.content.content_type in ("text", "multimodal_text")
    return message.author.role == "assistant" and message.recipient == "all" and shown and bool(_text(message))


def _turn(node: _Node, asked: list[_Message], previous: str | None, created: float) -> GivenTurn | None:
    message = node.message
    if message is None:
        return None
    is_question = message.author.role == "user" and not node.children and bool(_text(message))
    if not is_question and not _is_answer(message):
        return None
    said = [*asked, message] if is_question else asked
    model = message.metadata.get("model_slug")
    return GivenTurn(
        id=new_id("resp_"), previous=previous, created=message.create_time or created,
        status="cancelled" if is_question else "completed", model=model if isinstance(model, str) else "chatgpt",
        input=[_item("user", _text(each)) for each in said],
        output=[] if is_question else [_item("assistant", _text(message))],
    )  # fmt: skip


def _item(role: str, text: str) -> Json:
    part: Json = {"type": "input_text", "text": text}
    if role == "assistant":
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": new_id("msg_"), "role": role, "status": "completed", "content": [part]}


def _text(message: _Message) -> str:
    content = message.content
    texts = [content.text] if content.text else []
    for part in content.parts or ():
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = cast("Json", part).get("content_type")
            texts.append(f"[{kind}]" if isinstance(kind, str) else "[something that is no text]")
    return _clean("\n".join(text for text in texts if text)).strip()


def _clean(text: str) -> str:
    """Without what no database keeps: NUL, and halves of characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
