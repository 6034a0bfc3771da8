"""How many replicas a model should have. Pure: no clock, process or socket; `replicas.ReplicaSet` asks every second.

Up fast, down slowly. One more replica when, for `UP_S` seconds, a request would have had to wait longer than the target
even where the queue is shortest; several at once if what is there fills several. One less when, for `DOWN_S` seconds,
one less would have been enough with room to spare. None at all when nothing was there for as long as was said. The room
to spare is what keeps it from going up and down: what one replica fewer can hold does not queue there.

It decides on what was measured since the number of replicas last changed, and not before all of them take requests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

__all__ = ["DOWN_S", "UP_S", "Decision", "Metrics", "Sample", "Wanted", "decide"]

UP_S = 3.0
"""For so long requests must have waited too long before there is one replica more."""
DOWN_S = 60.0
"""For so long one replica fewer must have been enough before there is one less: starting one takes seconds."""
FULL = 0.7
"""Of the places where requests are computed, so many may be taken after one replica less."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the deployments of a model need.

    Args:
        min_replicas: so many are kept loaded; none is ever unloaded for another model.
        max_replicas: at most so many; at least 1.
        idle_s: seconds without a request after which the last one is unloaded, if `min_replicas` is 0; 0 keeps it
            loaded, None means what the settings say.
    """

    min_replicas: int = 0
    max_replicas: int = 1
    idle_s: float | None = None

    def __post_init__(self) -> None:
        assert 0 <= self.min_replicas <= self.max_replicas >= 1, f"{self} makes no sense"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was measured at one time.

    Args:
        at: monotonic seconds.
        replicas: that are loaded, or being loaded, and not on their way out.
        ready: those of them that take requests.
        starting: those of them that never have yet.
        running: requests that are computed, in all replicas.
        waiting: requests that are not computed yet.
        queue_s: seconds that a request waits before it is computed, in the replica where that is shortest.
        idle_s: seconds since anything ran or waited.
    """

    at: float
    replicas: int
    ready: int
    starting: int = 0
    running: int = 0
    waiting: int = 0
    queue_s: float = 0.0
    idle_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What is decided on.

    Args:
        samples: oldest first; the last one is now.
        min_replicas, max_replicas: see `Wanted`.
        slots: requests that one replica computes at once.
        target_s: how long a request may wait before it is computed.
        idle_s: see `Wanted`; 0 never unloads.
    """

    samples: tuple[Sample, ...]
    min_replicas: int
    max_replicas: int
    slots: int
    target_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """So many replicas, and why."""

    replicas: int
    reason: str


def decide(metrics: Metrics) -> Decision:
    """How many replicas there should be now."""
    wanted = _wanted(metrics)
    if wanted.replicas < metrics.min_replicas:
        return Decision(metrics.min_replicas, f"at least {metrics.min_replicas} wanted")
    if wanted.replicas > metrics.max_replicas:
        return Decision(metrics.max_replicas, f"at most {metrics.max_replicas} allowed; {wanted.reason}")
    return wanted


def _wanted(metrics: Metrics) -> Decision:
    """The same, whatever the bounds are."""
    now = metrics.samples[-1]
    have, demand = now.replicas, now.running + now.waiting
    if not have:
        return Decision(1, "requests wait") if demand else Decision(0, "nothing to do")
    if not demand and not now.queue_s and not now.starting and 0 < metrics.idle_s <= now.idle_s:
        return Decision(0, f"idle for {now.idle_s:.0f} s")
    slow_s = _held(metrics.samples, lambda one: one.ready == have and one.queue_s > metrics.target_s)
    if slow_s is not None and slow_s >= UP_S:
        more = max(have + 1, min(2 * have, ceil(demand / metrics.slots)))
        return Decision(more, f"requests have waited {now.queue_s:.1f} s, longer than {metrics.target_s:.1f} s")
    if have > 1:
        enough = FULL * metrics.slots * (have - 1)
        calm = metrics.target_s / 2
        spare_s = _held(metrics.samples, lambda one: one.queue_s <= calm and one.running + one.waiting <= enough)
        if spare_s is not None and spare_s >= DOWN_S:
            return Decision(have - 1, f"one fewer has been enough for {spare_s:.0f} s")
    return Decision(have, "as it is")


def _held(samples: tuple[Sample, ...], condition: Callable[[Sample], bool]) -> float | None:
    """For how many seconds until now `condition` has held, with as many replicas as there are; None: it does not."""
    now, since = samples[-1], None
    for sample in reversed(samples):
        if sample.replicas != now.replicas or not condition(sample):
            break
        since = sample.at
    return None if since is None else now.at - since
