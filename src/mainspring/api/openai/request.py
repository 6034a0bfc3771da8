"""What chat and completions have in common on the way in: sampling, stops, streams, and which deployment is meant."""

from typing import Literal

from starlette.requests import Request

from mainspring.api.context import Context
from mainspring.api.openai.replies import ServiceTier
from mainspring.api.openai.wire import SamplingFields
from mainspring.api.services import Services
from mainspring.core.errors import InvalidRequest, OperationNotSupported
from mainspring.core.types import ModelInfo, Sampling, Tier

__all__ = ["check_stream_options", "deployment", "sampling", "stops", "tier", "told"]


def deployment(
    request: Request,
    context: Context,
    services: Services,
    model: str | None,
    wanted: Literal["text", "embedding"] = "text",
) -> ModelInfo:
    """The deployment that the path names, or else the body; from here on the answer carries its headers.

    Raises:
        ModelNotFound: there is none of that name.
        OperationNotSupported: it cannot do what is wanted of it.
    """
    found = services.models.find(request.path_params.get("deployment") or model or "", context.project)
    context.deployment = found
    if found.is_for_batches and context.tier != "batch":
        raise OperationNotSupported(
            f"The deployment {found.id!r} is for batches: for requests like this, deploy its model as Standard.",
            param="model",
        )
    if (found.kind == "embedding") != (wanted == "embedding"):
        does, route = (
            ("makes embeddings and generates no text", "embeddings")
            if found.kind == "embedding"
            else ("generates text and makes no embeddings", "chat/completions")
        )
        raise OperationNotSupported(
            f"This operation does not work with the model {found.id!r}, which {does}: choose another model, or use "
            f"{route}.",
            param="model",
        )
    return found


def sampling(body: SamplingFields, logprobs: int | None) -> Sampling:
    """OpenAI's defaults for what is absent. A nucleus of no mass holds only the likeliest token: top_p 0 is greedy."""
    greedy = body.top_p == 0
    return Sampling(
        temperature=0.0 if greedy else _or(body.temperature, 1.0),
        top_p=1.0 if greedy else _or(body.top_p, 1.0),
        seed=body.seed,
        frequency_penalty=_or(body.frequency_penalty, 0.0),
        presence_penalty=_or(body.presence_penalty, 0.0),
        logit_bias={int(token): bias for token, bias in (body.logit_bias or {}).items()},
        logprobs=logprobs,
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def stops(body: SamplingFields) -> tuple[str, ...]:
    """The stop strings, however they were written."""
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())


def check_stream_options(body: SamplingFields) -> tuple[bool, bool]:
    """(include_usage, include_obfuscation) of a stream.

    Raises:
        InvalidRequest: options without a stream.
    """
    options = body.stream_options
    if options is None:
        return False, True
    if not body.stream:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is true.", param="stream_options"
        )
    return bool(options.include_usage), options.include_obfuscation is not False


def tier(context: Context, wanted: str | None) -> Tier:
    """The tier that a request is served in; "auto" is the default one. A batch's is not its requests' to choose."""
    if context.tier is not None:
        return context.tier
    return "priority" if wanted == "priority" else "flex" if wanted == "flex" else "default"


def told(tier: Tier) -> ServiceTier:
    """What an answer calls the tier: OpenAI has no word of its own for that of batches."""
    return "flex" if tier == "batch" else tier
