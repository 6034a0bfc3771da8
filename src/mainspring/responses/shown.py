"""What of an item a client is shown: what it did not ask for with `include` is left out."""

from collections.abc import Collection
from typing import Any

from mainspring.responses.opaque import seal
from mainspring.store.responses import Entry

__all__ = ["INCLUDABLE", "LOGPROBS", "shown", "shown_entry"]

Json = dict[str, Any]

LOGPROBS = "message.output_text.logprobs"
SEALED = "reasoning.encrypted_content"
INCLUDABLE = (
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
    SEALED, LOGPROBS,
)  # fmt: skip
"""OpenAI's values of `include`."""


def shown(item: Json, include: Collection[str]) -> Json:
    """The item as its client sees it."""
    match item["type"]:
        case "file_search_call" if "file_search_call.results" not in include:
            return {**item, "results": None}
        case "code_interpreter_call" if "code_interpreter_call.outputs" not in include:
            return {**item, "outputs": None}
        case "web_search_call":
            return _web_search(item, include)
        case "message" if LOGPROBS not in include and item["role"] == "assistant":
            return {**item, "content": [_without_logprobs(part) for part in item["content"]]}
        case "reasoning":
            return _reasoning(item, include)
        case _:
            return item


def _without_logprobs(part: Json) -> Json:
    return {**part, "logprobs": []} if part.get("logprobs") else part


def _web_search(item: Json, include: Collection[str]) -> Json:
    left = {name: value for name, value in item.items() if name != "results" or "web_search_call.results" in include}
    if "web_search_call.action.sources" not in include and isinstance(item.get("action"), dict):
        left["action"] = {name: value for name, value in item["action"].items() if name != "sources"}
    return left


def _reasoning(item: Json, include: Collection[str]) -> Json:
    left = {name: value for name, value in item.items() if name != "encrypted_content"}
    if SEALED in include:
        texts = [part["text"] for part in item.get("content") or item.get("summary") or ()]
        left["encrypted_content"] = item.get("encrypted_content") or seal({"thought": "".join(texts)})
    return left


def shown_entry(entry: Entry, include: Collection[str]) -> Json:
    """The same of what is kept, which may be more than its first client asked for."""
    return shown(entry.kept.get("item", entry.item), include)
