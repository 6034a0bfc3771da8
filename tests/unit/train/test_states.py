"""What may become of a job, and whose turn it is: pure rules."""

import itertools

import pytest

from mainspring.core.config import TrainingSettings
from mainspring.core.errors import InvalidRequest
from mainspring.store.jobs import Job
from mainspring.train.jobs import FineTuning, Wish
from mainspring.train.states import (
    ACTIVE,
    ENDS,
    LEGAL,
    Limits,
    backoff_s,
    check_transition,
    choose_to_run,
    choose_to_yield,
)

ONE = Limits(concurrent=1)


def job(name: str, status: str = "queued", **more) -> Job:
    return Job(
        **{"id": name, "kind": "fine-tuning", "project": "p", "creator": "", "priority": 0, "status": status,
           "wanted": "run", "spec": {}, "state": {}, "error": None, "created": 1.0, **more}
    )  # fmt: skip


def running(name: str, **more) -> Job:
    return job(name, **{"status": "running", "started": 2.0, **more})


EXPECTED = {
    ("queued", "paused"), ("running", "paused"), ("paused", "queued"), ("validating_files", "cancelled"),
    ("queued", "cancelled"), ("running", "cancelled"), ("paused", "cancelled"),
}  # fmt: skip
"""What an owner may make of a job: (from, to)."""


@pytest.mark.parametrize(("before", "to"), [*itertools.product(LEGAL, ["paused", "queued", "cancelled"])])
def test_what_an_owner_may_do(before: str, to: str) -> None:
    if (before, to) in EXPECTED:
        check_transition(job("j", before), to)  # type: ignore[arg-type]
        return
    with pytest.raises(InvalidRequest) as caught:
        check_transition(job("j", before), to)  # type: ignore[arg-type]
    assert caught.value.code == "invalid_job_state"
    assert before.replace("_", " ") in caught.value.message


def test_the_table_is_sound() -> None:
    assert {each for following in LEGAL.values() for each in following} <= LEGAL.keys()
    assert {"succeeded", "failed", "cancelled"} == ENDS
    assert not ACTIVE & ENDS
    for status in LEGAL.keys() - ENDS:
        assert "cancelled" in LEGAL[status]


def test_no_more_than_the_limit_run() -> None:
    waiting = [job("a"), job("b")]
    assert choose_to_run(waiting, [], ONE) == "a"
    assert choose_to_run(waiting, [running("x")], ONE) is None
    assert choose_to_run(waiting, [running("x")], Limits(concurrent=2)) == "a"
    assert choose_to_run(waiting, [], Limits(concurrent=0)) is None
    # What looks at files does not count; what was paused and has not noticed yet does.
    assert choose_to_run(waiting, [job("v", "validating_files")], ONE) == "a"
    assert choose_to_run(waiting, [running("x", status="paused")], ONE) is None


def test_a_project_that_has_its_share_lets_others_go_first() -> None:
    limits = Limits(concurrent=3, per_project=1)
    waiting = [job("a", priority=5), job("b", project="q")]
    assert choose_to_run(waiting, [running("x")], limits) == "b"
    assert choose_to_run(waiting, [running("x"), running("y", project="q")], limits) is None


def test_the_least_urgent_makes_way_for_a_more_urgent_one_only() -> None:
    held = [running("low", priority=-1, created=1.0), running("low-new", priority=-1, created=2.0), running("high")]
    limits = Limits(concurrent=3)
    assert choose_to_yield([job("a")], held, limits) == "low-new"
    assert choose_to_yield([job("a", priority=-1)], held, limits) is None
    assert choose_to_yield([job("a", priority=9)], held, Limits(concurrent=4)) is None, "there is a place"
    assert choose_to_yield([], held, limits) is None


@pytest.mark.parametrize("leaving", [{"wanted": "yield"}, {"status": "cancelled"}, {"status": "paused"}])
def test_one_is_asked_at_a_time(leaving: dict[str, str]) -> None:
    held = [running("x", priority=-1), running("y", **leaving)]
    assert choose_to_yield([job("a")], held, Limits(concurrent=2)) is None


def test_within_a_project_that_has_its_share_its_own_jobs_make_way() -> None:
    limits = Limits(concurrent=9, per_project=1)
    held = [running("mine"), running("theirs", project="q", priority=-5)]
    assert choose_to_yield([job("a", priority=1)], held, limits) == "mine"


def test_the_wait_after_a_crash_grows_and_ends() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 50)] == [2.0, 4.0, 8.0, 60.0]


async def test_where_nothing_can_be_trained_no_job_is_made():
    jobs = FineTuning(None, None, None, find=None, deployed=None, settings=TrainingSettings(), lacks="torch")
    with pytest.raises(InvalidRequest, match=r"no torch.*mainspring\[train\]") as caught:
        await jobs.create(Wish(model="m", training_file="file-1"), project="p", by="k")
    assert caught.value.code == "training_unavailable"
