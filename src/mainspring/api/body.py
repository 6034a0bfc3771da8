"""From the bytes of a request to a validated wire model, or one sentence that says what is wrong and where.

Pydantic finds the mistakes; OpenAI's words, codes and parameter paths are put on them here. Only the first mistake is
reported, as OpenAI does.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from mainspring.api.context import header
from mainspring.api.edge import ClientGone
from mainspring.core.errors import DeadlineExceeded, InvalidRequest, PayloadTooLarge, UnsupportedMediaType

__all__ = ["explain", "read_body"]

BODY_TIMEOUT_S = 60.0  # a client that trickles its body holds memory for no longer than this
PARTLY_SUPPORTED = frozenset({"modalities", "service_tier", "store"})  # OpenAI has more values for these than we do
# A tuple: what is compared may be unhashable.
UNSUPPORTED_PARTS = ("image_url", "input_audio", "file", "input_image", "input_file")

WireModel = TypeVar("WireModel", bound=BaseModel)


async def read_body(request: Request, model: type[WireModel], max_bytes: int) -> WireModel:
    """Read, decode and validate the body.

    Raises:
        UnsupportedMediaType: it is not plain application/json.
        PayloadTooLarge: it has more than `max_bytes` bytes, declared or sent.
        InvalidRequest: it is not JSON, or not what the route takes; `param` names the place.
    """
    _check_media_type(request)
    raw = await _read(request, max_bytes)
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidRequest(
            f"The body of the request could not be parsed as JSON: {why}.", code="invalid_json"
        ) from None
    if not isinstance(body, dict) and not model.__pydantic_root_model__:
        raise InvalidRequest("The body of the request must be a JSON object.", code="invalid_type")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise explain(dict(error.errors(include_url=False)[0]), cast("dict[str, Any]", body)) from None


def _check_media_type(request: Request) -> None:
    headers = request.scope["headers"]
    kind, _, parameters = (header(headers, b"content-type") or b"").decode("latin-1").partition(";")
    if kind.strip().lower() != "application/json":
        raise UnsupportedMediaType("The body must be JSON: send the header 'content-type: application/json'.")
    name, _, charset = parameters.strip().partition("=")
    if name.lower() == "charset" and charset.strip('" ').lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("The body must be encoded as UTF-8.")
    if (header(headers, b"content-encoding") or b"identity").lower() != b"identity":
        raise UnsupportedMediaType("Compressed bodies are not read: send the body without 'content-encoding'.")


async def _read(request: Request, max_bytes: int) -> bytes:
    too_large = PayloadTooLarge(f"The body is larger than {max_bytes} bytes, the most that this server reads.")
    if int(header(request.scope["headers"], b"content-length") or 0) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise DeadlineExceeded(f"The body did not arrive within {BODY_TIMEOUT_S:.0f} seconds.") from None
    except ClientDisconnect:
        raise ClientGone from None
    return b"".join(chunks)


def explain(error: dict[str, Any], body: dict[str, Any]) -> InvalidRequest:  # noqa: PLR0911 - one line a kind
    """Pydantic's error (an item of `ValidationError.errors()`) in OpenAI's words."""
    kind: str = error["type"]
    param, where = _path(error["loc"], body)
    if kind == "union_tag_invalid":
        return _wrong_tag(param, error)
    if kind == "union_tag_not_found":
        discriminator = str(error["ctx"]["discriminator"]).strip("'")
        kind, param = "missing", param if "(" in discriminator else f"{param}.{discriminator}"
    if kind == "missing" or (error.get("input", ...) is None and kind.endswith("_type")):
        return InvalidRequest(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    if kind == "extra_forbidden":
        return InvalidRequest(f"Unknown parameter: '{param}'.", code="unknown_parameter", param=param)
    if kind == "none_required":
        return _unsupported(param)
    if kind == "literal_error" and (where in PARTLY_SUPPORTED or error["input"] in UNSUPPORTED_PARTS):
        return _unsupported(param, f" Supported: {error['ctx']['expected'].lower()}.")
    if kind in _SENTENCES:
        code, sentence = _SENTENCES[kind]
        return InvalidRequest(
            f"Invalid '{param}': {sentence(error.get('ctx', {}), error.get('input'))}.", code=code, param=param
        )
    return InvalidRequest(f"Invalid '{param}': {error['msg']}.", param=param)


def _unsupported(param: str, detail: str = "") -> InvalidRequest:
    return InvalidRequest(
        f"Unsupported parameter: '{param}' is not supported by this server yet.{detail}",
        code="unsupported_parameter",
        param=param,
    )


def _wrong_tag(param: str, error: dict[str, Any]) -> InvalidRequest:
    context = error["ctx"]
    if context["tag"] in UNSUPPORTED_PARTS:
        return _unsupported(param, f" Only parts of type {context['expected_tags']} are.")
    param = f"{param}.{str(context['discriminator']).strip(chr(39))}"
    return InvalidRequest(
        f"Invalid value for '{param}': {_shown(context['tag'])}. Supported values are: {context['expected_tags']}.",
        param=param,
    )


def _path(location: tuple[str | int, ...], body: Any) -> tuple[str, str]:
    """The dotted path as OpenAI writes it (`messages[0].role`), and its first name.

    Pydantic's location also holds the tags of the unions it went through. The body tells them apart: what is not a key
    or an index of the value reached so far is a tag, except at the end, where it may be a key that is missing.
    """
    path = ""
    here = body
    for place, part in enumerate(location):
        if isinstance(part, int) and isinstance(here, list):
            path += f"[{part}]"
            here = cast("list[Any]", here)[part]
        elif isinstance(here, dict) and (part in here or place == len(location) - 1):
            path += f".{part}" if path else str(part)
            here = cast("dict[Any, Any]", here).get(part)
    return path[:256], str(location[0]) if location else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


_Sentence = Callable[[dict[str, Any], Any], str]


_NAMES: dict[Any, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
}


def _expected(what: str) -> tuple[str, _Sentence]:
    return "invalid_type", lambda _, value: f"expected {what}, but got {_NAMES.get(type(value), 'null')} instead"


def _bound(where: str, relation: str, key: str) -> tuple[str, _Sentence]:
    code = f"number_{where}_{'max' if where == 'above' else 'min'}_value"
    return code, lambda context, value: f"expected a value {relation} {context[key]}, but got {_shown(value)} instead"


def _size(kind: str, where: str, relation: str, key: str) -> tuple[str, _Sentence]:
    code = f"{kind}_{where}_{'max' if where == 'above' else 'min'}_length"
    return code, lambda context, value: f"expected a length {relation} {context[key]}, but got {len(value)} instead"


_SENTENCES: dict[str, tuple[str, _Sentence]] = {
    "string_type": _expected("a string"),
    "bool_type": _expected("a boolean"),
    "int_type": _expected("an integer"),
    "float_type": _expected("a number"),
    "list_type": _expected("an array"),
    "dict_type": _expected("an object"),
    "model_type": _expected("an object"),
    "model_attributes_type": _expected("an object"),
    "greater_than_equal": _bound("below", ">=", "ge"),
    "less_than_equal": _bound("above", "<=", "le"),
    "too_long": _size("array", "above", "of at most", "max_length"),
    "too_short": _size("array", "below", "of at least", "min_length"),
    "string_too_long": _size("string", "above", "of at most", "max_length"),
    "string_too_short": _size("string", "below", "of at least", "min_length"),
    "string_pattern_mismatch": (
        "invalid_value",
        lambda context, value: f"{_shown(value)} does not match the pattern {context['pattern']}",
    ),
    "literal_error": (
        "invalid_value",
        lambda context, value: f"{_shown(value)} is not supported. Supported values are: {context['expected']}",
    ),
}
