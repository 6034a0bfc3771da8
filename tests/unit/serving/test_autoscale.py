"""How many replicas: the rules one by one, and that they never contradict each other."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mainspring.serving.autoscale import DOWN_S, FULL, UP_S, Metrics, Sample, decide

SLOTS, TARGET_S, IDLE_S = 4, 1.0, 100.0


def metrics(*samples, low=0, high=8, idle_s=IDLE_S):
    return Metrics(samples=samples, min_replicas=low, max_replicas=high, slots=SLOTS, target_s=TARGET_S, idle_s=idle_s)


def steady(seconds, **fields):
    """One sample a second, all alike, the last one now."""
    fields = {"replicas": 1, "ready": 1, **fields}
    return [Sample(at=float(at), **fields) for at in range(int(seconds) + 1)]


def test_a_long_queue_gets_another_replica_once_it_has_lasted():
    slow = {"queue_s": 1.5, "running": 4, "waiting": 1}
    assert decide(metrics(*steady(UP_S - 1, **slow))).replicas == 1
    decision = decide(metrics(*steady(UP_S, **slow)))
    assert decision.replicas == 2
    assert "1.5 s" in decision.reason
    interrupted = [*steady(UP_S, **slow)]
    interrupted[1] = Sample(at=1.0, replicas=1, ready=1, running=4)
    assert decide(metrics(*interrupted)).replicas == 1


def test_a_crowd_gets_as_many_as_it_fills_but_at_most_twice_as_many():
    crowd = {"queue_s": 5.0, "running": 12, "waiting": 30, "replicas": 3, "ready": 3}
    assert decide(metrics(*steady(UP_S, **crowd))).replicas == 6
    assert decide(metrics(*steady(UP_S, **{**crowd, "waiting": 8}))).replicas == 5


def test_nothing_is_added_before_all_that_was_started_is_there():
    slow = {"queue_s": 5.0, "running": 4, "waiting": 9, "replicas": 2}
    assert decide(metrics(*steady(60, **slow, ready=1, starting=1))).replicas == 2
    changed = [*steady(10, **{**slow, "replicas": 1}, ready=1), Sample(at=11.0, **slow, ready=2)]
    assert decide(metrics(*changed)).replicas == 2, "what was measured with fewer replicas counts no more"


def test_one_replica_less_when_that_has_been_enough_for_long():
    calm = {"running": int(FULL * SLOTS), "replicas": 2, "ready": 2}
    assert decide(metrics(*steady(DOWN_S - 1, **calm))).replicas == 2
    assert decide(metrics(*steady(DOWN_S, **calm))).replicas == 1
    assert decide(metrics(*steady(DOWN_S, **{**calm, "running": SLOTS}))).replicas == 2
    assert decide(metrics(*steady(DOWN_S, **{**calm, "queue_s": TARGET_S * 0.9}))).replicas == 2
    fewer = [*steady(DOWN_S, **{**calm, "replicas": 3}), Sample(at=DOWN_S + 1, **calm)]
    assert decide(metrics(*fewer)).replicas == 2, "it was one less a moment ago"


def test_none_when_idle_for_long_and_nobody_reserved_one():
    def idle(seconds, **fields):
        return Sample(**{"at": 0.0, "replicas": 2, "ready": 2, "idle_s": seconds, **fields})

    assert decide(metrics(idle(IDLE_S))).replicas == 0
    assert decide(metrics(idle(IDLE_S - 1))).replicas == 2
    assert decide(metrics(idle(1e9), idle_s=0.0)).replicas == 2
    assert decide(metrics(idle(IDLE_S), low=1)).replicas == 1
    assert decide(metrics(idle(IDLE_S, starting=1))).replicas == 2
    for there in ({"running": 1}, {"waiting": 1}, {"queue_s": 0.1}):
        assert decide(metrics(idle(IDLE_S, **there))).replicas == 2


def test_the_first_replica():
    assert decide(metrics(Sample(at=0.0, replicas=0, ready=0))).replicas == 0
    assert decide(metrics(Sample(at=0.0, replicas=0, ready=0, waiting=1))).replicas == 1
    assert decide(metrics(Sample(at=0.0, replicas=0, ready=0), low=2)).replicas == 2


COUNTS = st.integers(0, 40)
QUEUES = st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.1, 5.0])


@st.composite
def histories(draw, *, changing=True):
    """Anything that could have been measured."""
    replicas = draw(st.integers(0, 6))
    made, at = [], 0.0
    for _ in range(draw(st.integers(1, 12))):
        at += draw(st.sampled_from([0.5, 1.0, 10.0, 30.0]))
        if changing:
            replicas = draw(st.sampled_from([replicas, replicas, draw(st.integers(0, 6))]))
        ready = draw(st.sampled_from([replicas, draw(st.integers(0, replicas))]))
        made.append(
            Sample(
                at=at,
                replicas=replicas,
                ready=ready,
                starting=draw(st.integers(0, replicas - ready)),
                running=draw(COUNTS),
                waiting=draw(COUNTS),
                queue_s=draw(QUEUES),
                idle_s=draw(st.sampled_from([0.0, 50.0, 200.0])),
            )
        )
    return made


BOUNDS = st.tuples(st.integers(0, 8), st.integers(1, 8)).map(lambda pair: (min(pair), max(pair)))


@given(samples=histories(), bounds=BOUNDS)
def test_never_out_of_bounds_and_none_only_if_nothing_is_there(samples, bounds):
    low, high = bounds
    decision = decide(metrics(*samples, low=low, high=high))
    assert low <= decision.replicas <= high
    assert decision.reason
    if decision.replicas == 0:
        assert samples[-1].running == samples[-1].waiting == 0


@given(samples=histories(), bounds=BOUNDS, data=st.data())
def test_longer_queues_never_mean_fewer_replicas(samples, bounds, data):
    low, high = bounds
    longer = [
        Sample(**{f: getattr(one, f) for f in Sample.__dataclass_fields__} | {"queue_s": one.queue_s + more})
        for one, more in ((one, data.draw(QUEUES)) for one in samples)
    ]
    less = decide(metrics(*samples, low=low, high=high)).replicas
    assert decide(metrics(*longer, low=low, high=high)).replicas >= less


def simulated(crowd, start, seconds, *, low=0, high=8):
    """The replicas' number over time, when `crowd` clients ask again as soon as they are answered, each for 3 s."""
    replicas, counts, samples = start, [start], []
    for at in range(seconds):
        running = min(crowd, SLOTS * replicas)
        waiting = crowd - running
        # Little's law; where no one is full, nobody waits.
        queue_s = waiting / (running / 3.0) if running and waiting else 0.0
        samples.append(
            Sample(at=float(at), replicas=replicas, ready=replicas, running=running, waiting=waiting, queue_s=queue_s)
        )
        replicas = decide(metrics(*samples[-90:], low=low, high=high)).replicas
        if replicas != counts[-1]:
            counts.append(replicas)
    return counts


@given(crowd=st.integers(0, 60), start=st.integers(0, 8), bounds=BOUNDS)
def test_under_a_constant_load_it_goes_one_way_and_stays(crowd, start, bounds):
    low, high = bounds
    counts = simulated(crowd, min(max(start, low), high), 800, low=low, high=high)
    steps = [after - before for before, after in itertools.pairwise(counts)]
    assert all(step > 0 for step in steps) or all(step < 0 for step in steps), counts
    last = counts[-1]
    if crowd and last < high:
        assert SLOTS * last * (1 + TARGET_S / 3.0) >= crowd, "requests wait too long"
    if last > max(low, 1):
        assert crowd > FULL * SLOTS * (last - 1), "one fewer would do"
