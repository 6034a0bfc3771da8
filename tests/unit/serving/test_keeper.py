"""Replicas over real processes and sockets: crashes, restarts, cancellation, orphans."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from mainspring.compute.local import launch_local
from mainspring.core.clock import SystemClock
from mainspring.core.config import ServingSettings
from mainspring.core.errors import InvalidRequest, ModelNotFound, Overloaded, Unavailable
from mainspring.core.types import Finished, GenerateRequest, ModelVersion, Sampling, TextPrompt, Token, TokenPrompt
from mainspring.serving.fleet import Fleet
from mainspring.serving.keeper import Keeper, ModelSpec
from mainspring.serving.router import Offer, Router


def version_of(name, version="0"):
    return ModelVersion(name=name, version=version, kind="chat", format="gguf", files=(), source="test", created=0)


VERSION = version_of("toy")
FOREVER = {"max_tokens": 1500, "sampling": Sampling(temperature=0, logit_bias={0: -100})}


def spec(path, name="toy", num_places=64, size=0, version=None, num_slots=16):
    def command(endpoint):
        said = {"model": str(path / name), "endpoint": endpoint}
        return ["tests.unit.serving.toy_replica"], json.dumps(said).encode() + b"\n"

    return ModelSpec(
        version=version or version_of(name),
        command=command,
        num_places=num_places,
        num_slots=num_slots,
        estimate=lambda: size,
    )


def offers(*specs):
    offer = Offer(models={each.version.name: each for each in specs})
    return lambda wanted: offer


async def launch(arguments, first_input):
    """A process whose memory is what its keeper expects."""
    process = await launch_local(arguments, first_input)
    process.memory_bytes = lambda: None
    return process


@contextlib.asynccontextmanager
async def serving(*specs, look=None, budget=2**40, preload=None, **settings):
    """A router over toy models; all of them loaded unless `preload` says which."""
    clock = SystemClock()
    names = [each.version.name for each in specs] if preload is None else preload
    chosen = ServingSettings(**{"idle_s": 0.0, **settings})
    router = Router(look or offers(*specs), launch, Fleet(budget), clock, chosen, preload=names)
    router.start()
    try:
        async with asyncio.timeout(120):
            await router.wait_ready()
            yield router
    finally:
        await router.stop()


def ask(name="r", prompt="hello", model="toy", **fields):
    return GenerateRequest(
        id=name,
        model=model,
        prompt=TextPrompt(prompt),
        **{"max_tokens": 5, "sampling": Sampling(temperature=0), **fields},
    )


async def collect(router, request):
    return [event async for event in router.generate(request)]


def keeper(router, name="toy"):
    """The first replica of a model."""
    return router._set(name).keepers[0]


async def settled(router):
    """Until the replica says that nothing is running."""
    while True:
        await collect(router, ask("probe", max_tokens=1))
        if keeper(router)._replica.load.running == 0:
            return


async def test_a_request_goes_through_a_process_and_back(tmp_path):
    async with serving(spec(tmp_path)) as router:
        events = await collect(router, ask())
        assert isinstance(events[-1], Finished)
        assert "".join(e.text for e in events if isinstance(e, Token))
        assert router.find("toy").state == "ready"
        assert router.find("toy").context_length == 2000


async def test_many_at_once_get_their_own_answers(tmp_path):
    async with serving(spec(tmp_path)) as router:
        alone = [await collect(router, ask(f"a{i}", f"prompt {i}")) for i in range(5)]
        together = await asyncio.gather(*(collect(router, ask(f"b{i}", f"prompt {i}")) for i in range(5)))

        def text(events):
            return "".join(e.text for e in events if isinstance(e, Token))

        assert list(map(text, alone)) == list(map(text, together))


async def test_errors_of_a_request_cross_the_border_whole(tmp_path):
    async with serving(spec(tmp_path)) as router:
        with pytest.raises(InvalidRequest) as caught:
            await collect(router, GenerateRequest(id="x", model="toy", prompt=TokenPrompt((9999,))))
        assert caught.value.param == "prompt"
        with pytest.raises(ModelNotFound, match="toy"):
            await collect(router, ask(model="nope"))


async def test_leaving_cancels(tmp_path):
    async with serving(spec(tmp_path)) as router:
        one = keeper(router)
        events = router.generate(ask(**FOREVER))
        await anext(events)
        assert one.load.running == 1
        await events.aclose()
        await settled(router)
        assert one.load.kv_used < 100
        assert one._replica.num_open == 0


async def test_one_more_than_there_are_places_is_refused(tmp_path):
    async with serving(spec(tmp_path, num_places=1)) as router:
        events = router.generate(ask(**FOREVER))
        await anext(events)
        with pytest.raises(Overloaded) as caught:
            await collect(router, ask("second"))
        assert caught.value.retry_after_s > 0
        await events.aclose()


async def test_a_killed_replica_fails_streams_and_comes_back_and_others_never_notice(tmp_path):
    async with serving(spec(tmp_path), spec(tmp_path, "other")) as router:
        streams = [router.generate(ask("s", **FOREVER)), router.generate(ask("o", model="other", **FOREVER))]
        for stream in streams:
            await anext(stream)
        os.kill(keeper(router).pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            async for _ in streams[0]:
                pass
        assert isinstance((await collect(router, ask("next")))[-1], Finished)
        assert isinstance(await anext(streams[1]), Token)
        await streams[1].aclose()


async def test_a_request_that_got_nothing_yet_is_sent_again(tmp_path):
    async with serving(spec(tmp_path)) as router:
        one = keeper(router)
        os.kill(one.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(collect(router, ask()))
        while not one._replica.num_open:  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0)
        os.kill(one.pid, signal.SIGKILL)
        assert isinstance((await waiting)[-1], Finished)


async def test_stopping_ends_streams_and_processes(tmp_path):
    async with serving(spec(tmp_path)) as router:
        one = keeper(router)
        pid = one.pid
        stream = router.generate(ask(**FOREVER))
        await anext(stream)
        await router.stop()
        with pytest.raises(Unavailable):
            async for _ in stream:
                pass
        assert not psutil.pid_exists(pid)
        with pytest.raises(Unavailable):
            await collect(router, ask("late"))


async def test_a_replica_that_cannot_start_is_tried_again(tmp_path):
    (tmp_path / "toy.broken").touch()
    one = Keeper("toy", spec(tmp_path), launch_local, SystemClock())
    one.start()
    while one.state != "restarting":  # noqa: ASYNC110  nothing announces it
        await asyncio.sleep(0.01)
    (tmp_path / "toy.broken").unlink()
    async with asyncio.timeout(120):
        await one.wait_ready()
    await one.stop()


async def test_requests_do_not_wait_for_what_never_starts(tmp_path):
    (tmp_path / "toy.broken").touch()
    async with serving(spec(tmp_path), preload=[]) as router:
        with pytest.raises(Unavailable, match="could not be loaded"):
            await collect(router, ask())
        with pytest.raises(Unavailable):  # at once now
            async with asyncio.timeout(0.5):
                await collect(router, ask("again"))
        (tmp_path / "toy.broken").unlink()
        async with asyncio.timeout(120):
            await keeper(router).wait_ready()
        assert isinstance((await collect(router, ask("third")))[-1], Finished)


async def test_an_orphan_ends_by_itself(tmp_path):
    script = textwrap.dedent(
        """
        import asyncio, json, sys
        from mainspring.compute.local import launch_local
        async def main():
            spec = {"model": sys.argv[1], "endpoint": "ipc://" + sys.argv[1]}
            process = await launch_local(["tests.unit.serving.toy_replica"], json.dumps(spec).encode() + b"\\n")
            print(process.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s")], stdout=subprocess.PIPE)  # noqa: ASYNC220
    replica = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await asyncio.to_thread(psutil.wait_procs, [replica], timeout=5)
    assert not replica.is_running() or replica.status() == psutil.STATUS_ZOMBIE
