"""The headers that clients of OpenAI and Azure look for, on every answer (reference, section 1.4)."""

import math

from mainspring.api.context import Context, clean
from mainspring.core.seams import Deployments
from mainspring.core.types import ModelInfo, Rate, Room

__all__ = ["common_headers", "deployment_headers"]

RawHeaders = list[tuple[bytes, bytes]]


def common_headers(context: Context, region: bytes) -> RawHeaders:
    """Ids and timing, for successes and errors alike."""
    request_id = context.request_id.encode()
    return [
        (b"x-request-id", request_id),
        (b"apim-request-id", request_id),
        (b"x-ms-client-request-id", context.client_request_id),
        (b"x-ms-region", region),
        (b"openai-processing-ms", b"%d" % (context.elapsed_s * 1000)),
        (b"openai-version", b"2020-10-01"),
        (b"openai-organization", b"mainspring"),
        (b"x-content-type-options", b"nosniff"),
    ]


def deployment_headers(context: Context, deployment: ModelInfo, models: Deployments, rate: Rate) -> RawHeaders:
    """What inference adds: which deployment answered, and how much room there is.

    The limits are those of the key. A key without them has the deployment's own: places for requests, and tokens of its
    KV cache. Both are freed as requests end, not by a clock, so the reset is a guess: 0 when nothing is in use,
    otherwise a second.
    """
    load = models.load(deployment.id, context.project)
    places = models.places(deployment.id, context.project)
    used = load.running + load.waiting
    rooms = {
        b"requests": rate.requests or Room(places, max(places - used, 0), float(used > 0)),
        b"tokens": rate.tokens or Room(load.kv_total, max(load.kv_total - load.kv_used, 0), float(load.kv_used > 0)),
    }
    unit = b"s" if context.dialect == "openai" else b""  # OpenAI writes durations, Azure integers
    return [
        *_spilled(context),
        (b"x-ms-deployment-name", clean(deployment.id.encode())),
        (b"azureml-model-session", clean(f"{deployment.id}-{deployment.version}".encode())),
        (b"x-accel-buffering", b"no"),
        *(
            header
            for name, room in rooms.items()
            for header in (
                (b"x-ratelimit-limit-" + name, b"%d" % room.limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % room.remaining),
                (b"x-ratelimit-reset-" + name, b"%d" % math.ceil(room.reset_s) + unit),
            )
        ),
    ]


def _spilled(context: Context) -> RawHeaders:
    if context.spilled is None:
        return []
    return [
        (b"x-ms-spillover-from-deployment", clean(context.spilled.source.encode())),
        (b"x-ms-spillover-error", b"%d" % context.spilled.status),
    ]
