"""When a delivery is tried again: pure."""

__all__ = ["BASE_S", "CAP_S", "FACTOR", "next_try"]

BASE_S = 5.0
FACTOR = 3.0
CAP_S = 12 * 3600.0
JITTER = 0.2


def next_try(
    tries: int, *, since_s: float, now_s: float, retry_s: float, draw: float, retry_after_s: float = 0.0
) -> float | None:
    """When to try again after attempt `tries` (from 1) has failed; None if it was the last.

    5 s after the first, then three times as long each time, up to 12 hours; the last time when the delivery is
    `retry_s` old: fourteen attempts in three days.

    Args:
        draw: from 0 to 1: deliveries that failed together are not tried again together.
        retry_after_s: what the endpoint has asked for; at most `CAP_S` is given.
    """
    last_s = since_s + retry_s
    if now_s >= last_s:
        return None
    # Bounded before it is raised: an exponent of thousands would not be a number any more.
    wait_s = min(BASE_S * FACTOR ** min(tries - 1, 20), CAP_S) * (1 + JITTER * (draw - 0.5))
    return min(now_s + max(wait_s, min(retry_after_s, CAP_S)), last_s)
