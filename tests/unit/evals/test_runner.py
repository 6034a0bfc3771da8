"""Runs over the fake: every item once and every count right, whatever breaks off, is cancelled, or cannot be asked."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mainspring.core.clock import FakeClock, SystemClock
from mainspring.core.config_evals import EvalSettings
from mainspring.core.errors import InvalidRequest, NotFound, Overloaded, RateLimited, Unauthorized, Unavailable
from mainspring.core.types import ChatPrompt, Event, GenerateRequest, Message, Sampling
from mainspring.engine.fake import FakeEngine
from mainspring.evals import again
from mainspring.evals.evals import Evals, fair
from mainspring.evals.runner import Runner
from mainspring.evals.spec import ACTIVE, Origin, PartMessage, Sampler, state_of
from mainspring.graders.seams import Seams
from mainspring.store import worker as worker_module
from mainspring.store.blobs import Directory
from mainspring.store.db import Database
from mainspring.store.evals import RUN, Item
from mainspring.store.files import Files
from mainspring.store.jobs import Job
from mainspring.store.stored_chats import ChatFilter, StoredChat, StoredChats
from mainspring.store.tables import eval_items, eval_sources, jobs, outbox
from mainspring.store.worker import Worker
from tests.hearing import listen

P = "default"
CONFIG = {"type": "custom", "item_schema": {"type": "object", "required": ["q"]}, "include_sample_schema": True}
CONTAINS = {
    "type": "string_check",
    "name": "has it",
    "input": "{{sample.output_text}}",
    "reference": "{{item.a}}",
    "operation": "like",
}
JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "fake",
    "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    "range": [0, 4],
    "pass_threshold": 0,
}
LABEL = {
    "type": "label_model",
    "name": "label",
    "model": "fake",
    "input": [{"role": "user", "content": "{{item.q}}"}],
    "labels": ["bad", "good"],
    "passing_labels": ["good"],
}
SAMPLER = Sampler(
    model="fake",
    template=(PartMessage(role="system", texts=("Be brief.",)), PartMessage(role="user", texts=("{{item.q}}",))),
    sampling=Sampling(seed=42, temperature=0),
    max_tokens=8,
)


class Installation:
    """Everything around runs, over one database."""

    def __init__(self, database: Database, home: Path, **changes: Any) -> None:
        self.database, self.engine = database, FakeEngine(places=64)
        self.files = Files(database, Directory(home / "blobs"), SystemClock())
        self.chats = StoredChats(database, SystemClock(), 0)
        self.settings = EvalSettings(**{"items": 4, **changes})
        self.generate = self.engine.generate
        self.gone: set[str] = set()
        self.evals = Evals(
            database, SystemClock(), self.files, self.chats, self.engine, seams=self.seams, settings=self.settings
        )

    def seams(self, project: str, creator: str) -> Seams:
        patient = again.waiting(lambda request: self.generate(request), SystemClock(), lambda _: asyncio.sleep(0))
        return Seams(generate=patient, tenant=creator, project=project, tier="flex")

    async def admit(self, creator: str) -> None:
        if creator in self.gone:
            raise Unauthorized("The key works no longer.")

    def worker(self) -> Worker:
        runner = Runner(
            self.database, SystemClock(), self.files, seams=self.seams, admit=self.admit,
            concurrent=self.settings.items, max_items=self.settings.max_items,
        )  # fmt: skip
        return Worker(
            self.database, SystemClock(), RUN, ACTIVE, runner.work, give_up=runner.give_up, choose=fair, lease_s=4.0
        )

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncGenerator[Worker]:
        worker = self.worker()
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            await worker.stop()
            await task

    async def make(self, *criteria: dict[str, Any], **more: Any) -> str:
        made = await self.evals.create(
            project=P, by="key-1", name="e", labels=None, config=more.get("config", CONFIG), criteria=criteria,
            may_run_code=True,
        )  # fmt: skip
        return made.id

    async def start(self, id: str, items: list[dict[str, Any]] | None = None, **more: Any) -> Job:  # noqa: A002
        given = {
            "by": "key-1", "name": None, "labels": None, "source": {"type": "completions"},
            "origin": Origin(kind="content"), "sampler": SAMPLER, "items": items or [], **more,
        }  # fmt: skip
        return (await self.evals.start(P, id, **given)).job

    async def job(self, id: str, run: str) -> Job:  # noqa: A002
        return (await self.evals.run(P, id, run)).job

    async def until(self, id: str, run: str, ends: bool = True) -> Job:  # noqa: A002
        async with asyncio.timeout(120):
            while True:
                job = await self.job(id, run)
                # Until it is given back: who stops a worker while the database answers it breaks a connection.
                if (job.finished is not None and not job.until) or (not ends and job.status != "queued"):
                    return job
                await asyncio.sleep(0.01)

    async def ended(self, id: str, run: str) -> Job:  # noqa: A002
        async with self.working():
            return await self.until(id, run)

    async def items(self, id: str, run: str, **more: Any) -> list[Item]:  # noqa: A002
        """Every page of them."""
        found: list[Item] = []
        has_more, given = True, {"status": None, "descending": False, "limit": 3, **more}
        while has_more:
            page, has_more = await self.evals.items(P, id, run, after=found[-1].id if found else None, **given)
            found += page
        return found

    async def told(self) -> list[tuple[str, str]]:
        async with self.database.read() as connection:
            return [(row.type, row.object) for row in await connection.execute(select(outbox).order_by(outbox.c.id))]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LOOK_S", 0.01)
    monkeypatch.setattr(worker_module, "BACKOFF_S", 0.0)


@pytest.fixture
async def here(tmp_path: Path, database_url: str) -> AsyncGenerator[Installation]:
    opened = await Database.open(tmp_path, database_url)
    await listen(opened, P)
    yield Installation(opened, tmp_path)
    await opened.close()


def questions(count: int) -> list[dict[str, Any]]:
    return [{"item": {"q": f"number {at}", "a": ""}} for at in range(count)]


async def test_every_item_is_answered_and_graded_once(here: Installation) -> None:
    id = await here.make(CONTAINS, JUDGE, LABEL)  # noqa: A001
    run = await here.start(id, questions(20))
    assert (run.status, run.finished) == ("queued", None)
    job = await here.ended(id, run.id)
    assert (job.status, job.error) == ("completed", None)
    items = await here.items(id, run.id)
    assert sorted(item.place for item in items) == list(range(20))
    state = state_of(job)
    assert (state.counts.passed, state.counts.failed, state.counts.errored) == (0, 20, 0), "the fake's label is 'bad'"
    assert state.criteria == ((20, 0), (20, 0), (0, 20))
    assert state.spent["fake"].calls == 60
    sample: Any = items[0].outcome
    assert [each["name"] for each in sample["results"]] == ["has it", "judge", "label"]
    assert sample["sample"]["input"][1]["content"].startswith("number ")
    assert sample["sample"]["usage"]["completion_tokens"] == 8
    assert {request.tier for request in here.engine.requests} == {"flex"}
    assert {(request.tenant, request.project) for request in here.engine.requests} == {("key-1", P)}
    assert await here.told() == [("eval.run.succeeded", run.id)]


async def test_whatever_breaks_off_each_item_shows_once(here: Installation) -> None:
    """Servers come and go at random moments, some of them without a farewell."""
    dice = random.Random(7)
    id = await here.make(CONTAINS, JUDGE)  # noqa: A001
    run = await here.start(id, questions(60))
    seen: list[tuple[int, set[str]]] = []
    for _ in range(6):
        worker = here.worker()
        task = asyncio.create_task(worker.run())
        least = min(60, dice.randint(0, 9) + (len(seen[-1][1]) if seen else 0))
        async with asyncio.timeout(120):
            while len(await here.items(id, run.id, limit=100)) < least:  # noqa: ASYNC110 - it is in the database
                await asyncio.sleep(dice.uniform(0.0, 0.01))
        if dice.random() < 0.5:
            await worker.stop()
        task.cancel()
        await worker.stop()
        await asyncio.wait([task])
        done = {item.item["item"]["q"] for item in await here.items(id, run.id)}
        seen.append((len(here.engine.requests), done))
    job = await here.ended(id, run.id)
    items, state = await here.items(id, run.id), state_of(job)
    assert sorted(item.place for item in items) == list(range(60))
    assert len({item.id for item in items}) == 60
    assert (job.status, state.counts.passed) == ("completed", 60)
    assert state.criteria == ((60, 0), (60, 0))
    assert state.spent["fake"].calls == 120, "an item that was asked twice counts once"
    for asked, done in seen:
        prompts = [request.prompt for request in here.engine.requests[asked:]]
        again = {prompt.messages[-1].content for prompt in prompts if isinstance(prompt, ChatPrompt)} & done
        assert not again, "what was done is not done again"
    assert any(done for _, done in seen)
    assert [item.id for item in items] == [item.id for item in await here.items(id, run.id, descending=True)][::-1]


async def test_two_servers_share_what_there_is(here: Installation) -> None:
    id = await here.make(CONTAINS)  # noqa: A001
    runs = [await here.start(id, questions(15)) for _ in range(4)]
    async with here.working(), here.working():
        for run in runs:
            assert (await here.until(id, run.id)).status == "completed"
    for run in runs:
        assert sorted(item.place for item in await here.items(id, run.id)) == list(range(15))


async def test_what_cannot_be_answered_or_graded_is_an_error_of_its_item(here: Installation) -> None:
    id = await here.make(CONTAINS)  # noqa: A001
    given = [
        {"item": {"q": "fine", "a": ""}},
        {"item": {"q": "!raise InvalidRequest", "a": ""}},
        {"item": {"q": "the grader finds no reference"}},
        {"item": {"q": "never this", "a": "xyzzy"}},
    ]
    run = await here.start(id, given)
    job = await here.ended(id, run.id)
    by_place = {item.place: item for item in await here.items(id, run.id)}
    assert [by_place[at].status for at in range(4)] == ["pass", "error", "error", "fail"]
    failed: Any = by_place[1].outcome
    assert failed["results"] == []
    assert failed["sample"]["error"]["message"] == "The spell said InvalidRequest."
    ungraded: Any = by_place[2].outcome
    assert ungraded["results"][0]["error"]["code"] == "invalid_variable_error"
    assert state_of(job).counts.errored == 2
    assert [item.place for item in await here.items(id, run.id, status="fail")] == [3]
    assert [item.place for item in await here.items(id, run.id, status="pass")] == [0]


async def test_a_full_queue_is_waited_for(here: Installation) -> None:
    id = await here.make(CONTAINS)  # noqa: A001
    refused = 0

    def sometimes(request: GenerateRequest) -> AsyncGenerator[Event]:
        nonlocal refused
        refused += 1
        if refused % 3:
            raise Overloaded("full") if refused % 2 else Unavailable("starting")
        return here.engine.generate(request)

    here.generate = sometimes
    run = await here.start(id, questions(5))
    job = await here.ended(id, run.id)
    assert (job.status, state_of(job).counts.passed) == ("completed", 5)
    assert refused == 15


async def test_a_request_is_not_waited_for_without_end_nor_asked_again_once_it_began() -> None:
    clock, engine, slept = FakeClock(), FakeEngine(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    asked = again.waiting(engine.generate, clock, sleep)
    for text, times in (("!raise Overloaded", 100), ("!raise Overloaded after 2", 1)):
        engine.requests.clear()
        request = GenerateRequest(id="r", model="fake", prompt=_chat(text))
        with pytest.raises(Overloaded):
            async for _ in asked(request):
                pass
        assert len(engine.requests) >= times if times > 1 else len(engine.requests) == 1
    assert slept[:4] == [1.5, 1.5, 2.0, 4.0]
    assert sum(slept) >= again.PATIENCE_S
    assert max(slept) <= 30


def _chat(text: str) -> Any:
    return ChatPrompt((Message(role="user", content=text),))


async def test_a_cancelled_run_writes_nothing_more(here: Installation) -> None:
    id = await here.make(CONTAINS)  # noqa: A001
    run = await here.start(id, [*questions(2), *({"item": {"q": "!hang after 1", "a": ""}} for _ in range(8))])
    async with here.working():
        async with asyncio.timeout(120):
            while len(await here.items(id, run.id)) < 2:  # noqa: ASYNC110 - it is in the database
                await asyncio.sleep(0.01)
        cancelled = (await here.evals.cancel(P, id, run.id)).job
        assert (cancelled.status, cancelled.wanted) == ("canceled", "cancel")
        assert cancelled.finished is not None
        assert await asyncio.to_thread(here.engine.wait_idle, 20), "what was computed for it ends"
        assert (await here.evals.cancel(P, id, run.id)).job.status == "canceled"
    assert len(await here.items(id, run.id)) == 2
    assert await here.told() == [("eval.run.canceled", run.id)]


async def test_what_comes_of_an_item_after_the_run_was_cancelled_is_not_written(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "LOOK_S", 5.0)  # the worker does not notice by itself in this time
    id = await here.make(CONTAINS)  # noqa: A001
    run = await here.start(id, questions(1))

    async def cancelling(request: GenerateRequest) -> AsyncGenerator[Event]:
        await here.evals.cancel(P, id, run.id)
        async for event in here.engine.generate(request):
            yield event

    here.generate = cancelling
    async with here.working(), asyncio.timeout(120):
        while (job := await here.job(id, run.id)).finished is None or job.until:  # noqa: ASYNC110 - it is in the database
            await asyncio.sleep(0.01)
    assert (job.status, await here.items(id, run.id)) == ("canceled", [])
    assert state_of(job).counts.passed == 0
    assert await here.told() == [("eval.run.canceled", run.id)], "and it did not succeed besides"


async def test_a_run_that_is_deleted_while_it_runs_is_gone(here: Installation) -> None:
    id = await here.make(CONTAINS)  # noqa: A001
    run = await here.start(id, [{"item": {"q": "!hang", "a": ""}}, *questions(30)])
    async with here.working():
        await here.until(id, run.id, ends=False)
        await here.evals.remove_run(P, id, run.id)
        assert await asyncio.to_thread(here.engine.wait_idle, 20)
    with pytest.raises(NotFound):
        await here.evals.run(P, id, run.id)
    async with here.database.read() as connection:
        for table in (eval_items, eval_sources, jobs):
            assert (await connection.execute(select(table))).first() is None, table.name


async def upload(here: Installation, *lines: Any, purpose: str = "evals") -> str:
    async def stream() -> AsyncGenerator[bytes]:
        yield "\n".join(json.dumps(line) for line in lines).encode()

    return (await here.files.create(project=P, purpose=purpose, filename="x.jsonl", stream=stream())).id


async def test_items_of_a_file_are_loaded_once_though_loading_breaks_off(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.evals.runner.TOGETHER", 4)
    file = await upload(here, *questions(22))
    id = await here.make(CONTAINS)  # noqa: A001
    run = await here.start(id, origin=Origin(kind="file", file=file))
    keep, count = Runner._keep, 0

    async def sometimes(self: Runner, *given: Any) -> None:
        nonlocal count
        count += 1
        await keep(self, *given)
        if count in (1, 3):
            raise ValueError("as if it were killed")

    monkeypatch.setattr(Runner, "_keep", sometimes)
    job = await here.ended(id, run.id)
    assert (job.status, state_of(job).loaded) == ("completed", 22)
    items = sorted(await here.items(id, run.id), key=lambda item: item.place)
    assert [item.item["item"]["q"] for item in items] == [f"number {at}" for at in range(22)]


@pytest.mark.parametrize(
    ("lines", "code", "says"),
    [
        ([{"item": {"q": "a"}}, {"item": {"p": 1}}], "invalid_item", "Line 2 of the file does not fit"),
        ([{"q": "a"}], "invalid_item", "Line 1"),
        ([{"item": {"q": "x" * 1_100_000}}], "invalid_item", "bytes, the most of an item"),
        ([{"item": {"q": "a"}}] * 11, "too_many_items", "more than 10"),
    ],
    ids=["schema", "shape", "size", "count"],
)
async def test_a_file_that_is_wrong_fails_the_run(
    tmp_path: Path, lines: list[Any], code: str, says: str
) -> None:  # fmt: skip
    database = await Database.open(tmp_path)
    await listen(database, P)
    here = Installation(database, tmp_path, max_items=10)
    id = await here.make(CONTAINS)  # noqa: A001
    run = await here.start(id, origin=Origin(kind="file", file=await upload(here, *lines)))
    job = await here.ended(id, run.id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == code
    assert says in job.error["message"]
    assert await here.told() == [("eval.run.failed", run.id)]
    assert here.engine.requests == [], "nothing is asked before all is known to be right"
    await database.close()


async def test_a_file_that_is_gone_fails_the_run(here: Installation) -> None:
    id = await here.make(CONTAINS)  # noqa: A001
    file = await upload(here, *questions(2))
    run = await here.start(id, origin=Origin(kind="file", file=file))
    await here.files.remove(P, file)
    job = await here.ended(id, run.id)
    assert (job.status, (job.error or {})["code"]) == ("failed", "not_found")
    with pytest.raises(InvalidRequest, match="purpose 'evals'"):
        await here.start(id, origin=Origin(kind="file", file=await upload(here, {"a": 1}, purpose="batch")))
    with pytest.raises(NotFound):
        await here.start(id, origin=Origin(kind="file", file="file-none"))


def chat(at: int, **more: Any) -> StoredChat:
    message = {"role": "assistant", "content": f"answer {at}", "refusal": None}
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}], "model": "fake",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }  # fmt: skip
    given = {
        "id": f"chatcmpl-{at:03}", "project": P, "model": "fake", "created": 1000.0 + at // 3,
        "labels": {"kind": "even" if at % 2 == 0 else "odd"}, "messages": [{"role": "user", "content": f"q {at}"}],
        "answer": answer, **more,
    }  # fmt: skip
    return StoredChat(**given)


async def test_stored_chats_are_graded_as_they_are_or_answered_anew(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainspring.evals.runner.TOGETHER", 8)
    for at in range(15):
        here.chats.keep(f"{at}", lambda at=at: chat(at))
    here.chats.keep("x", lambda: chat(50, project="elsewhere"))
    check = {**CONTAINS, "reference": "answer"}
    id = await here.make(check, config={"type": "logs", "metadata": None})  # noqa: A001
    only = Origin(kind="chats", chats=ChatFilter(labels={"kind": "even"}), limit=6)
    run = await here.start(id, origin=only, sampler=None)
    job = await here.ended(id, run.id)
    assert (job.status, state_of(job).counts.passed) == ("completed", 6)
    assert here.engine.requests == []
    items = sorted(await here.items(id, run.id), key=lambda item: item.place)
    assert [item.item["item"]["id"] for item in items] == [f"chatcmpl-{at:03}" for at in range(0, 12, 2)]
    shown: Any = items[1].outcome
    assert shown["sample"]["input"] == [{"role": "user", "content": "q 2"}]
    assert shown["sample"]["output"][0]["content"] == "answer 2"
    assert shown["sample"]["usage"]["total_tokens"] == 5
    anew = Sampler(model="fake", reference="item.input", sampling=Sampling(seed=1))
    run = await here.start(id, origin=Origin(kind="chats"), sampler=anew)
    job = await here.ended(id, run.id)
    assert (job.status, state_of(job).counts.failed, len(here.engine.requests)) == ("completed", 15, 15)
    none = await here.start(id, origin=Origin(kind="chats", chats=ChatFilter(model="none")), sampler=None)
    job = await here.ended(id, none.id)
    assert (job.status, (job.error or {})["code"]) == ("failed", "empty_source")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("text", "no list"), ([], "no list"), ([1], "no message"), ([{"role": "x"}], "no role"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "not text"),
        ([{"role": "assistant", "tool_calls": [{}]}], "tool call"), (None, "no list"),
    ],
)  # fmt: skip
async def test_a_reference_leads_to_a_conversation(tmp_path: Path, given: Any, says: str) -> None:
    database = await Database.open(tmp_path)
    here = Installation(database, tmp_path)
    id = await here.make(CONTAINS)  # noqa: A001
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    whole = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, "b"]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "d"},
    ]
    run = await here.start(
        id, [{"item": {"q": given, "a": ""}}, {"item": {"q": whole, "a": ""}}],
        sampler=Sampler(model="fake", reference="item.q"),
    )  # fmt: skip
    await here.ended(id, run.id)
    items = sorted(await here.items(id, run.id), key=lambda item: item.place)
    assert [item.status for item in items] == ["error", "pass"]
    wrong: Any = items[0].outcome
    assert says in wrong["sample"]["error"]["message"]
    asked: Any = here.engine.requests[-1].prompt
    assert [message.content for message in asked.messages] == ["ab", "", "d"]
    assert asked.messages[1].tool_calls[0].name == "f"
    await database.close()


async def test_a_run_that_never_gets_on_fails(here: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(Runner, "_process", broken)
    id = await here.make(CONTAINS)  # noqa: A001
    run = await here.start(id, questions(1))
    job = await here.ended(id, run.id)
    assert (job.status, (job.error or {})["code"]) == ("failed", "internal_error")


async def test_a_run_of_a_key_that_works_no_longer_fails(here: Installation) -> None:
    id = await here.make(CONTAINS)  # noqa: A001
    run = await here.start(id, questions(3))
    here.gone.add("key-1")
    job = await here.ended(id, run.id)
    assert (job.status, (job.error or {})["code"]) == ("failed", "invalid_api_key")
    assert here.engine.requests == []


async def test_a_project_has_a_limit_of_runs(tmp_path: Path) -> None:
    database = await Database.open(tmp_path)
    here = Installation(database, tmp_path, runs_per_project=2)
    id = await here.make(CONTAINS)  # noqa: A001
    runs = [await here.start(id, questions(1)) for _ in range(2)]
    with pytest.raises(RateLimited):
        await here.start(id, questions(1))
    await here.evals.cancel(P, id, runs[0].id)
    await here.start(id, questions(1))
    await database.close()


def test_projects_take_turns() -> None:
    def job(id: str, project: str) -> Job:  # noqa: A002
        return Job(
            id=id, kind=RUN, project=project, creator="", priority=0, status="queued", wanted="run", spec={}, state={},
            error=None, created=0.0,
        )  # fmt: skip

    waiting = [job("a1", "a"), job("a2", "a"), job("b1", "b")]
    assert fair(waiting, []) == "a1"
    assert fair(waiting, [job("a0", "a")]) == "b1"
    assert fair([], [job("a0", "a")]) is None
