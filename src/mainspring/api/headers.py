"""The headers that clients of OpenAI and Azure look for, on every answer (reference, section 1.4)."""

from mainspring.api.context import Context, clean
from mainspring.core.seams import Models
from mainspring.core.types import ModelInfo

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


def deployment_headers(context: Context, deployment: ModelInfo, models: Models) -> RawHeaders:
    """What inference adds: which deployment answered, and how much room it has.

    The limits are the deployment's own: places for requests, and tokens of its KV cache. Both are freed as requests
    end, not by a clock, so the reset is a guess: 0 when nothing is in use, otherwise a second.
    """
    load, places = models.load(deployment.id), models.places(deployment.id)
    used = load.running + load.waiting
    unit = b"s" if context.dialect == "openai" else b""  # OpenAI writes durations, Azure integers
    return [
        (b"x-ms-deployment-name", clean(deployment.id.encode())),
        (b"azureml-model-session", clean(f"{deployment.id}-{deployment.version}".encode())),
        (b"x-accel-buffering", b"no"),
        (b"x-ratelimit-limit-requests", b"%d" % places),
        (b"x-ratelimit-remaining-requests", b"%d" % max(places - used, 0)),
        (b"x-ratelimit-reset-requests", (b"1" if used else b"0") + unit),
        (b"x-ratelimit-limit-tokens", b"%d" % load.kv_total),
        (b"x-ratelimit-remaining-tokens", b"%d" % max(load.kv_total - load.kv_used, 0)),
        (b"x-ratelimit-reset-tokens", (b"1" if load.kv_used else b"0") + unit),
    ]
