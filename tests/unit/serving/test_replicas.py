"""Replica sets: the rules on fakes and a fake clock; then the same with real processes."""

import asyncio
import contextlib
import os
import signal

import psutil
import pytest

from mainspring.core.clock import FakeClock
from mainspring.core.config import ServingSettings
from mainspring.core.errors import ModelNotFound, Overloaded, Unavailable
from mainspring.core.types import EmbedRequest, Finished, Load, Token, Usage
from mainspring.serving.autoscale import DOWN_S, UP_S, Wanted
from mainspring.serving.fleet import Fleet, Seat
from mainspring.serving.replicas import RETRY_S, ReplicaSet
from mainspring.serving.router import Offer
from tests.unit.serving.test_keeper import FOREVER, ask, collect, serving, spec, version_of


class FakeReplica:
    """Gives one token at once, and the end when `go` is set; fails when it is lost."""

    def __init__(self):
        self.go, self.lost, self.mute = asyncio.Event(), False, False

    async def generate(self, request):
        if self.lost:
            raise Unavailable("lost")
        if not self.mute:
            yield Token(0, "a")
        await self.go.wait()
        if self.lost:
            raise Unavailable("lost")
        yield Finished(0, "stop", Usage(1, 1))

    async def embed(self, request):
        await self.go.wait()
        if self.lost:
            raise Unavailable("lost")
        return "vectors"


class FakeKeeper:
    """A keeper without a process: it is ready as soon as `come` is called."""

    def __init__(self, name, load, clock):
        self.name, self._load, self.clock = name, load, clock
        self.state, self.reason, self.failures, self.context_length = "idle", "coming", 0, 100
        self.kept = self.spare = self.loaded = self.ready = self.stopped = False
        self.num_here = self.num_draining = 0
        self.left, self.queue_s, self.last_used = asyncio.Event(), 0.0, clock.monotonic()
        self.opened, self.is_ready = asyncio.Event(), asyncio.Event()
        self.opened.set()
        self.replica = FakeReplica()

    draining = property(lambda self: self.num_draining > 0)
    failing = property(lambda self: self.failures >= 3 and not self.ready)
    load = property(lambda self: Load(running=self.num_here, queue_s=self.queue_s))
    seat = property(lambda self: Seat(self.name, 1, self.num_here > 0, self.last_used, self.kept, self.spare))

    async def estimate(self):
        return 1

    def start(self):
        self.loaded, self.state = True, "starting"

    def come(self):
        self.ready, self.state, self.last_used = True, "ready", self.clock.monotonic()
        self.is_ready.set()

    def lose(self):
        """The process is gone and comes back when `come` is called."""
        self.ready, self.state = False, "restarting"
        self.is_ready.clear()
        self.replica.lost = True
        self.replica.go.set()
        self.replica = FakeReplica()

    async def unload(self):
        self.num_draining += 1
        self.opened.clear()
        try:
            while self.num_here:
                self.left.clear()
                await self.left.wait()
            self.loaded = self.ready = False
            self.state = "idle"
            self.is_ready.clear()
        finally:
            self.num_draining -= 1
            self.opened.set()

    async def retire(self):
        await self.unload()
        await self.stop()

    async def stop(self):
        self.stopped, self.loaded, self.ready = True, False, False

    async def wait_ready(self):
        await self.is_ready.wait()

    @contextlib.asynccontextmanager
    async def serve(self):
        await self.opened.wait()
        self.num_here += 1
        try:
            if not self.loaded:
                await self._load(self)
            await self.is_ready.wait()
            yield self.replica
        finally:
            self.num_here -= 1
            self.last_used = self.clock.monotonic()
            self.left.set()


class Bench:
    """A set on fakes."""

    def __init__(self, *, budget=100, num_places=64, **settings):
        self.clock, self.fleet = FakeClock(), Fleet(budget)
        one = spec("x", num_places=num_places, num_slots=4)
        chosen = ServingSettings(**{"max_replicas": 4, "queue_s": 1.0, "idle_s": 100.0, **settings})
        self.set = ReplicaSet(
            one, lambda name, load: FakeKeeper(name, load, self.clock), self.fleet, self.clock, chosen
        )

    @property
    def staying(self):
        return [keeper for keeper in self.set.keepers if keeper.loaded and not keeper.draining]

    async def ticks(self, seconds):
        """Let time pass; whatever starts is ready a moment later."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.set.tick()
            await self.settle()

    async def settle(self):
        for _ in range(10):
            await asyncio.sleep(0)
        for keeper in self.set.keepers:
            if keeper.state == "starting":
                keeper.come()
        await asyncio.sleep(0)

    async def stream(self, name="r", prompt="hello"):
        """A request that has got its first token."""
        events = self.set.generate(ask(name, prompt))
        first = asyncio.ensure_future(anext(events))
        await self.settle()
        assert isinstance(await first, Token)
        return events

    async def end(self, *streams):
        for keeper in self.set.keepers:
            keeper.replica.go.set()
        for events in streams:
            assert isinstance([event async for event in events][-1], Finished), "a stream was cut"
        for keeper in self.set.keepers:
            keeper.replica.go.clear()


async def test_nothing_is_loaded_before_a_request_and_then_one():
    bench = Bench()
    await bench.ticks(3)
    assert (bench.set.status.state, bench.staying) == ("idle", [])
    await bench.end(await bench.stream())
    assert bench.set.status.state == "ready"
    assert len(bench.staying) == 1


async def test_up_while_requests_wait_and_down_again_without_cutting_a_stream():
    bench = Bench(max_replicas=2)
    streams = [await bench.stream(str(at)) for at in range(6)]
    (first,) = bench.staying
    first.queue_s = 3.0
    await bench.ticks(UP_S + 2)
    assert len(bench.staying) == 2
    second = bench.staying[1]
    assert (first.spare, second.spare) == (False, True)
    streams.append(await bench.stream("new"))
    assert second.num_here == 1, "the new replica gets the next request"
    await bench.ticks(20)
    assert len(bench.staying) == 2, "there is a most"

    first.queue_s = 0.0
    late = [streams.pop(), streams.pop()]
    await bench.end(*streams)
    assert [keeper.num_here for keeper in bench.staying] == [1, 1]
    await bench.ticks(DOWN_S + 3)
    assert len(bench.staying) == 1
    (leaving,) = (keeper for keeper in (first, second) if keeper.draining)
    assert leaving.loaded, "it has a stream to end"
    for at in range(5):
        late.append(await bench.stream(f"later{at}"))
    assert leaving.num_here == 1, "a replica that leaves gets nothing new"
    await bench.end(*late)
    await bench.ticks(2)
    assert not leaving.loaded
    assert leaving.stopped
    assert leaving not in bench.set.keepers
    await bench.ticks(100)
    assert bench.staying == []
    assert bench.set.status.state == "idle"


async def test_a_replica_that_is_leaving_stays_when_it_is_needed_again():
    bench = Bench(max_replicas=2)
    bench.set.want(Wanted(min_replicas=2, max_replicas=2))
    await bench.settle()
    streams = [await bench.stream("a", "1"), await bench.stream("b", "2"), await bench.stream("c", "3")]
    for keeper in bench.staying:
        if not keeper.num_here:
            pytest.fail("the prompts should be spread")
    bench.set.want(Wanted(max_replicas=1))
    await bench.settle()
    assert [keeper.draining for keeper in bench.set.keepers].count(True) == 1
    bench.set.want(Wanted(min_replicas=2, max_replicas=2))
    await bench.settle()
    assert [keeper.draining for keeper in bench.set.keepers] == [False, False]
    assert len(bench.staying) == 2
    await bench.end(*streams)


async def test_what_is_reserved_is_loaded_at_once_and_kept():
    bench = Bench()
    bench.set.want(Wanted(min_replicas=2, max_replicas=3))
    assert bench.set.status.state in {"starting", "idle"}
    await bench.settle()
    assert [keeper.kept for keeper in bench.staying] == [True, True]
    assert bench.set.status.reason.startswith("2 of 2")
    await bench.ticks(500)
    assert len(bench.staying) == 2
    await bench.end(await bench.stream())
    bench.set.want(Wanted())
    await bench.ticks(1)
    assert [keeper.kept for keeper in bench.staying] == [False]
    await bench.ticks(110)
    assert bench.staying == []


async def test_the_settings_bound_what_is_wanted():
    bench = Bench(max_replicas=1)
    bench.set.want(Wanted(min_replicas=3, max_replicas=5, idle_s=0.0))
    await bench.ticks(5)
    assert len(bench.staying) == 1


async def test_one_that_has_no_memory_is_tried_again_later_and_others_serve_on():
    bench = Bench(budget=1)
    await bench.end(await bench.stream())
    (first,) = bench.staying
    first.queue_s = 9.0
    stream = await bench.stream()
    await bench.ticks(UP_S + 5)
    assert bench.staying == [first]
    assert bench.set.status.state == "ready"
    bench.fleet._budget = 2
    await bench.ticks(5)
    assert bench.staying == [first], "it is not asked for every second"
    await bench.ticks(RETRY_S)
    assert len(bench.staying) == 2
    await bench.end(stream)


async def test_a_model_that_cannot_be_loaded_says_why():
    bench = Bench(budget=0)
    with pytest.raises(Unavailable):
        await bench.set.load_first()
    assert bench.set.status.state == "failed"
    assert "serving.memory_bytes" in bench.set.status.reason
    bench.set.want(Wanted(min_replicas=1))
    await bench.settle()
    assert bench.set.status.state == "failed"
    bench.fleet._budget = 1
    await bench.ticks(RETRY_S + 2)
    assert bench.set.status.state == "ready"


async def test_a_refusal_is_forgotten_when_loading_succeeds():
    bench = Bench(budget=0)
    with pytest.raises(Unavailable):
        await collect(bench.set, ask())
    assert bench.set.status.state == "failed"
    bench.fleet._budget = 1
    await bench.end(await bench.stream())
    await bench.ticks(110)
    assert bench.set.status.state == "idle"


async def test_the_one_with_the_fewest_requests_leaves():
    bench = Bench()
    keepers = await two(bench)
    for each, num in zip(keepers, (1, 4), strict=True):
        each.num_here = num
    bench.set.want(Wanted(max_replicas=1))
    await bench.settle()
    assert [each.draining for each in keepers] == [True, False]


async def test_a_model_that_fails_says_why_and_one_that_restarts_too():
    bench = Bench()
    bench.set.want(Wanted(min_replicas=1))
    await bench.settle()
    (one,) = bench.staying
    one.lose()
    one.reason = "The process ended."
    assert (bench.set.status.state, bench.set.status.reason) == ("restarting", "The process ended.")
    one.failures = 3
    assert (bench.set.status.state, bench.set.status.reason) == ("failed", "The process ended.")
    one.come()
    assert bench.set.status.state == "ready"


async def two(bench):
    bench.set.want(Wanted(min_replicas=2, max_replicas=2))
    await bench.settle()
    return bench.staying


@pytest.mark.parametrize("kind", ["generate", "embed"])
async def test_a_request_whose_replica_is_lost_before_it_gave_anything_goes_to_the_other(kind):
    bench = Bench()
    keepers = await two(bench)
    for keeper in keepers:
        keeper.replica.mute = True
    if kind == "embed":
        asked = asyncio.ensure_future(bench.set.embed(EmbedRequest(id="r", model="m", inputs=("a",))))
    else:
        asked = asyncio.ensure_future(collect(bench.set, ask()))
    await bench.settle()
    (lost,) = (keeper for keeper in keepers if keeper.num_here)
    (other,) = (keeper for keeper in keepers if keeper is not lost)
    lost.lose()
    await asyncio.sleep(0)
    await bench.settle()
    assert (lost.num_here, other.num_here) == (0, 1)
    other.replica.go.set()
    answer = await asked
    assert answer == "vectors" if kind == "embed" else isinstance(answer[-1], Finished)


async def test_a_stream_whose_replica_is_lost_fails_and_is_not_begun_anew():
    bench = Bench()
    keepers = await two(bench)
    stream = await bench.stream()
    (lost,) = (keeper for keeper in keepers if keeper.num_here)
    lost.lose()
    with pytest.raises(Unavailable):
        await anext(stream)
    assert [keeper.num_here for keeper in keepers] == [0, 0]


async def test_one_request_is_sent_twice_at_most():
    bench = Bench()
    keepers = await two(bench)
    for keeper in keepers:
        keeper.replica.lost = True
    with pytest.raises(Unavailable):
        await collect(bench.set, ask())


async def test_places_and_load_are_those_of_all_replicas():
    bench = Bench(num_places=2)
    keepers = await two(bench)
    assert bench.set.num_places == 4
    streams = [await bench.stream(str(at), str(at)) for at in range(4)]
    assert bench.set.load.running == 4
    with pytest.raises(Overloaded, match="toy holds 4 requests"):
        await collect(bench.set, ask())
    keepers[0].lose()
    assert bench.set.num_places == 2
    for stream in streams:
        await stream.aclose()
    assert bench.set.load.running == 0


# -- real processes ----------------------------------------------------------------------------------------------------


def pids(router, name="toy"):
    return [keeper.pid for keeper in router._set(name).keepers if keeper.ready]


async def until(condition):
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0.02)


async def test_two_real_replicas_share_the_requests_and_going_back_to_one_cuts_no_stream(tmp_path):
    async with serving(spec(tmp_path), max_replicas=2) as router:
        streams = [router.generate(ask(f"a{at}", str(at), **{**FOREVER, "max_tokens": 400})) for at in range(4)]
        firsts = [await anext(stream) for stream in streams]
        router.want({"toy": Wanted(min_replicas=2, max_replicas=2)})
        await until(lambda: len(pids(router)) == 2)
        more = [router.generate(ask(f"b{at}", str(at), **{**FOREVER, "max_tokens": 400})) for at in range(4)]
        firsts += [await anext(stream) for stream in more]
        assert all(keeper.num_here for keeper in router._set("toy").keepers)
        before = pids(router)
        router.want({"toy": Wanted(max_replicas=1)})
        texts = await asyncio.gather(*(_rest(stream) for stream in (*streams, *more)))
        alone = await collect(router, ask("alone", "0", **{**FOREVER, "max_tokens": 400}))
        text = "".join(event.text for event in alone if isinstance(event, Token))
        assert firsts[0].text + texts[0] == firsts[4].text + texts[4] == text
        router.tick()
        await until(lambda: len(router._set("toy").keepers) == 1)
        assert len(set(before) & set(pids(router))) == 1
        await until(lambda: sum(psutil.pid_exists(pid) for pid in before) == 1)


async def _rest(stream):
    events = [event async for event in stream]
    assert isinstance(events[-1], Finished), "a stream was cut"
    return "".join(event.text for event in events if isinstance(event, Token))


async def test_one_of_two_real_replicas_is_killed(tmp_path):
    async with serving(spec(tmp_path), max_replicas=2) as router:
        router.want({"toy": Wanted(min_replicas=2, max_replicas=2)})
        await until(lambda: len(pids(router)) == 2)
        toys = router._set("toy").keepers
        prompts = {}
        for at in range(50):
            prompts.setdefault(router._set("toy")._choose(b"\0" + str(at).encode()).name, str(at))
        streams = {keeper: router.generate(ask(keeper.name, prompts[keeper.name], **FOREVER)) for keeper in toys}
        for keeper, stream in streams.items():
            await anext(stream)
            assert keeper.num_here == 1
        victim, other = toys
        os.kill(victim.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(collect(router, ask("waiting", prompts[victim.name])))
        await until(lambda: victim.num_here == 2)
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(Unavailable) as caught:
            async for _ in streams[victim]:
                pass
        assert caught.value.retry_after_s
        assert isinstance((await waiting)[-1], Finished)
        assert isinstance(await anext(streams[other]), Token)
        await streams[other].aclose()
        await until(lambda: len(pids(router)) == 2)


async def test_a_queue_in_a_real_engine_brings_a_second_replica(tmp_path, monkeypatch):
    monkeypatch.setattr("mainspring.serving.router.TICK_S", 0.05)
    monkeypatch.setattr("mainspring.serving.autoscale.UP_S", 0.2)
    async with serving(spec(tmp_path), max_replicas=2, queue_s=0.1) as router:
        crowd = [asyncio.create_task(collect(router, ask(str(at), str(at), **FOREVER))) for at in range(40)]
        await until(lambda: len(pids(router)) == 2)
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)


# -- names -------------------------------------------------------------------------------------------------------------


async def test_a_version_has_one_set_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.setattr("mainspring.serving.router.LOOK_S", 0.0)
    old, new = spec(tmp_path, version=version_of("toy", "1")), spec(tmp_path, version=version_of("toy", "2"))
    shelf = {"newest": old}

    def look(wanted):
        every = {"toy@1": old, "toy@2": new}
        made = {"toy": shelf["newest"]} | {name: every[name] for name in sorted(wanted & set(every))}
        if shelf.get("made", (None, None))[0] != made:
            shelf["made"] = made, Offer(models=made)
        return shelf["made"][1]

    async with serving(look=look, preload=["toy"]) as router:
        assert router._set("toy@1") is router._set("toy"), "a version that is offered may be named"
        router.want({"toy@1": Wanted(min_replicas=1)})
        assert [info.id for info in router.list()] == ["toy"]
        stream = router.generate(ask(**{**FOREVER, "max_tokens": 300}))
        await anext(stream)
        kept = router._set("toy@1")

        shelf["newest"] = new
        assert router._set("toy@1") is kept, "it is wanted though a newer one is there"
        assert [(info.id, info.version) for info in router.list()] == [("toy", "2"), ("toy@1", "1")]
        assert isinstance((await collect(router, ask("new")))[-1], Finished)
        assert isinstance([event async for event in stream][-1], Finished)

        router.want({})
        with pytest.raises(ModelNotFound):
            router.find("toy@1")
        assert router.status("toy@1").state == "failed"
        assert router.status("toy").state == "ready"


async def test_what_is_wanted_is_there_at_once(tmp_path):
    one = spec(tmp_path)
    async with serving(look=lambda wanted: Offer(models=dict.fromkeys(wanted, one)), preload=[]) as router:
        router.want({"toy@0": Wanted()})
        assert router.status("toy@0").state == "idle"


async def test_what_several_names_want_of_one_version_adds_up(tmp_path):
    one = spec(tmp_path)
    offer = Offer(models={"toy": one, "toy@0": one})
    async with serving(look=lambda wanted: offer, preload=[], max_replicas=8) as router:
        router.want({"toy": Wanted(min_replicas=1, max_replicas=2, idle_s=5.0), "toy@0": Wanted(idle_s=9.0)})
        assert router._set("toy")._wanted == Wanted(min_replicas=1, max_replicas=3, idle_s=9.0)
        router.want({"toy": Wanted(idle_s=0.0), "toy@0": Wanted(idle_s=5.0)})
        assert router._set("toy")._wanted == Wanted(max_replicas=2, idle_s=0.0)
        router.want({})
        assert router._set("toy")._wanted == Wanted(max_replicas=8, idle_s=0.0)
