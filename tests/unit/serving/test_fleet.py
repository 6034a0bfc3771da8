"""Many models in little memory: who is loaded, who has to go, and that nobody's stream is cut and nobody starves."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import ModelNotFound, Unavailable
from mainspring.core.types import Adapter, Finished, ModelVersion, Token
from mainspring.serving.fleet import Fleet, Seat, choose
from mainspring.serving.router import LOOK_S, AdapterSpec, Offer
from tests.unit.serving.test_keeper import FOREVER, ask, collect, keeper, serving, spec, version_of

SEATS = st.lists(
    st.builds(
        Seat, st.uuids().map(str), st.integers(0, 50), st.booleans(), st.floats(0, 100), st.booleans(), st.booleans()
    ),
    max_size=6,
    unique=True,
)


@given(needed=st.integers(0, 60), budget=st.integers(0, 150), seats=SEATS)
def test_what_is_chosen_suffices_and_nothing_is_chosen_in_vain(needed, budget, seats):
    chosen = choose(needed, budget, seats)
    kept = [seat for seat in seats if seat.kept]
    if chosen is None:
        assert needed + sum(seat.num_bytes for seat in kept) > budget
        return
    assert not {seat.name for seat in kept} & set(chosen)
    left = sum(seat.num_bytes for seat in seats if seat.name not in chosen)
    assert needed + left <= budget or not seats
    for seat in seats:
        if seat.name in chosen:
            assert needed + left + seat.num_bytes > budget
    if any(seat.busy for seat in seats if seat.name in chosen):
        idle = sum(seat.num_bytes for seat in seats if not seat.busy and not seat.kept)
        assert needed + sum(seat.num_bytes for seat in seats) - idle > budget, (
            "busy ones only where idle ones are not enough"
        )


def test_the_least_recently_used_goes_first():
    seats = [Seat("new", 10, False, 9.0), Seat("old", 10, False, 1.0), Seat("busy", 10, True, 0.0)]
    assert choose(10, 30, seats) == ["old"]
    assert choose(20, 30, seats) == ["old", "new"]
    assert choose(30, 30, seats) == ["old", "new", "busy"]
    assert choose(31, 30, seats) is None


def test_of_the_busy_ones_those_go_first_whose_model_has_another():
    seats = [Seat("only", 10, True, 0.0), Seat("second", 10, True, 9.0, spare=True), Seat("idle", 10, False, 5.0)]
    assert choose(20, 30, seats) == ["idle", "second"]


def states(router):
    return {info.id: info.state for info in router.list()}


async def test_a_request_loads_its_model_and_several_wait_for_one_start(tmp_path):
    async with serving(spec(tmp_path), preload=[]) as router:
        assert router.ready
        assert states(router) == {"toy": "idle"}
        waiting = [asyncio.create_task(collect(router, ask(str(at)))) for at in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert states(router) == {"toy": "starting"}
        answers = await asyncio.gather(*waiting)
        assert all(isinstance(answer[-1], Finished) for answer in answers)
        assert next(keeper(router)._incarnations) == 1, "started more than once"


async def test_the_least_recently_used_makes_room(tmp_path):
    specs = [spec(tmp_path, name, size=10) for name in "abc"]
    async with serving(*specs, budget=25, preload=["a", "b"]) as router:
        await collect(router, ask("1", model="a"))
        await collect(router, ask("2", model="c"))
        assert states(router) == {"a": "ready", "b": "idle", "c": "ready"}
        await collect(router, ask("3", model="b"))
        assert states(router) == {"a": "idle", "b": "ready", "c": "ready"}


async def test_a_busy_model_ends_its_streams_before_it_goes(tmp_path):
    async with serving(spec(tmp_path, "a", size=10), spec(tmp_path, "b", size=10), budget=15, preload=["a"]) as router:
        stream = router.generate(ask("s", model="a", **{**FOREVER, "max_tokens": 300}))
        await anext(stream)
        other = asyncio.create_task(collect(router, ask("o", model="b")))
        await asyncio.sleep(0.05)
        late = asyncio.create_task(collect(router, ask("l", model="a")))
        text = [event async for event in stream]
        assert isinstance(text[-1], Finished)
        assert isinstance((await other)[-1], Finished)
        assert isinstance((await late)[-1], Finished)
        assert states(router) == {"a": "ready", "b": "idle"}


async def test_two_models_that_never_fit_together_both_get_on(tmp_path):
    async with serving(spec(tmp_path, "a", size=10), spec(tmp_path, "b", size=10), budget=15, preload=[]) as router:
        asked = [collect(router, ask(f"{name}{at}", model=name)) for at in range(6) for name in "ab"]
        async with asyncio.timeout(40):
            answers = await asyncio.gather(*asked)
        assert all(isinstance(answer[-1], Finished) for answer in answers)
        starts = sum(next(keeper(router, name)._incarnations) for name in "ab")
        assert starts <= 4, "they are loaded for one request after the other"


async def test_who_gives_up_waiting_leaves_everything_as_it_was(tmp_path):
    async with serving(spec(tmp_path, "a", size=10), spec(tmp_path, "b", size=10), budget=15, preload=["a"]) as router:
        stream = router.generate(ask("s", model="a", **FOREVER))
        await anext(stream)
        other = asyncio.create_task(collect(router, ask("o", model="b")))
        await asyncio.sleep(0.05)
        late = asyncio.create_task(collect(router, ask("l", model="a")))
        await asyncio.sleep(0.05)
        assert not late.done(), "it should wait while the model is draining"
        other.cancel()
        assert isinstance((await late)[-1], Finished)
        assert isinstance(await anext(stream), Token)
        await stream.aclose()


async def test_what_can_never_fit_says_so_with_the_numbers(tmp_path):
    async with serving(spec(tmp_path, size=5 * 10**9), budget=4 * 10**9, preload=[]) as router:
        with pytest.raises(Unavailable, match=r"5\.0 GB.*4\.0 GB.*serving\.memory_bytes") as caught:
            await collect(router, ask())
        assert caught.value.code == "insufficient_memory"


async def test_what_does_not_fit_at_the_start_waits_for_its_first_request(tmp_path):
    specs = [spec(tmp_path, "a", size=10), spec(tmp_path, "b", size=50)]
    async with serving(*specs, budget=20, preload=["b", "a"]) as router:
        assert router.ready
        assert states(router) == {"a": "ready", "b": "idle"}


async def test_an_idle_model_is_unloaded_and_comes_back(tmp_path):
    async with serving(spec(tmp_path), idle_s=0.2) as router:
        await collect(router, ask())
        pid = keeper(router).pid
        async with asyncio.timeout(120):
            while states(router) != {"toy": "idle"}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert isinstance((await collect(router, ask("2")))[-1], Finished)
        assert keeper(router).pid != pid


class Member:
    """For the rules alone."""

    def __init__(self, name, last_used=0.0, *, size=1, loaded=True, **seat):
        self.name, self.last_used, self.size, self.loaded = name, last_used, size, loaded
        self.facts = {"busy": False, **seat}

    @property
    def seat(self):
        return Seat(self.name, self.size, last_used=self.last_used, **self.facts)

    async def estimate(self):
        return self.size

    def start(self):
        self.loaded = True

    async def unload(self):
        self.loaded = False


async def test_what_has_grown_beyond_the_budget_is_brought_back_into_it():
    fleet = Fleet(10)
    members = [Member("busy", 0.0, busy=True, size=4), Member("old", 1.0, size=3), Member("new", 2.0, size=3)]
    for each in members:
        fleet.add(each)
    await fleet.tidy()
    assert [each.loaded for each in members] == [True, True, True]
    members[2].size = 5  # its caches have filled
    await fleet.tidy()
    assert [each.loaded for each in members] == [True, False, True]
    members[0].loaded, members[2].size = False, 50
    await fleet.tidy()
    assert members[2].loaded, "nobody else wants the memory"


async def test_what_is_kept_stays_and_the_refusal_says_how_much_that_is():
    fleet, kept, idle = (
        Fleet(10 * 10**9),
        Member("kept", size=6 * 10**9, kept=True),
        Member("idle", 5.0, size=2 * 10**9),
    )
    large, small = Member("large", size=5 * 10**9, loaded=False), Member("small", size=4 * 10**9, loaded=False)
    for each in (kept, idle, large, small):
        fleet.add(each)
    with pytest.raises(Unavailable, match=r"5\.0 GB.*10\.0 GB, of which 6\.0 GB are reserved"):
        await fleet.load(large)
    assert (kept.loaded, idle.loaded, large.loaded) == (True, True, False)
    await fleet.load(small)
    assert (kept.loaded, idle.loaded, small.loaded) == (True, False, True)
    kept.size = 9 * 10**9
    await fleet.tidy()
    assert kept.loaded


async def test_a_spare_replica_gets_free_memory_only():
    fleet, idle, more = Fleet(10), Member("idle", size=6), Member("more", size=5, loaded=False)
    for each in (idle, more):
        fleet.add(each)
    with pytest.raises(Unavailable, match="no memory for one more replica"):
        await fleet.load(more, spare=True)
    assert idle.loaded
    more.size = 4
    await fleet.load(more, spare=True)
    assert idle.loaded
    assert more.loaded


async def test_models_and_adapters_that_come_and_go_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("mainspring.serving.router.LOOK_S", 0.0)
    toy = spec(tmp_path)
    shelf = [Offer(models={"toy": toy})]
    async with serving(toy, look=lambda wanted: shelf[0]) as router:
        with pytest.raises(ModelNotFound):
            await collect(router, ask(model="pirate"))
        version = ModelVersion(
            name="pirate", version="7", kind="chat", format="gguf", files=(), source="x", created=5, base="toy@0"
        )
        pirate = AdapterSpec(version=version, adapter=Adapter("pirate@7", "/x.gguf"), base="toy")
        shelf[0] = Offer(models={"toy": toy}, adapters={"pirate": pirate})
        plain, adapted = await collect(router, ask("1")), await collect(router, ask("2", model="pirate"))
        assert "".join(e.text for e in plain[:-1]) != "".join(e.text for e in adapted[:-1])
        info = router.find("pirate")
        assert (info.id, info.base, info.version, info.state) == ("pirate", "toy", "7", "ready")
        assert [each.id for each in router.list()] == ["toy", "pirate"]

        stream = router.generate(ask("s", **{**FOREVER, "max_tokens": 200}))
        await anext(stream)
        shelf[0] = Offer(models={})
        with pytest.raises(ModelNotFound):
            await collect(router, ask("late"))
        assert isinstance([event async for event in stream][-1], Finished), "its stream was cut"


async def test_a_new_version_takes_over_without_cutting_the_old_ones_streams(tmp_path, monkeypatch):
    monkeypatch.setattr("mainspring.serving.router.LOOK_S", 0.0)
    shelf = [Offer(models={"toy": spec(tmp_path)})]
    async with serving(spec(tmp_path), look=lambda wanted: shelf[0]) as router:
        stream = router.generate(ask("s", **{**FOREVER, "max_tokens": 200}))
        await anext(stream)
        shelf[0] = Offer(models={"toy": spec(tmp_path, version=version_of("toy", "1"))})
        assert isinstance((await collect(router, ask("new")))[-1], Finished)
        assert router.find("toy").version == "1"
        assert isinstance([event async for event in stream][-1], Finished)


def test_looks_are_rare():
    assert LOOK_S >= 1.0
