"""`mainspring train` against a server whose jobs are the fake's."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from mainspring.cli import train
from mainspring.cli.train import Watch
from tests.contract.target import GovernedTarget, governed, in_catalog
from tests.unit.cli.conftest import Run
from tests.unit.train.installation import examples


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    home = tmp_path_factory.mktemp("server")
    in_catalog(home, "tiny", "abc")
    with governed(home) as found:
        yield found


@pytest.fixture
def served(target: GovernedTarget, home: Path, monkeypatch: pytest.MonkeyPatch) -> GovernedTarget:
    home.mkdir()
    (home / "server.json").write_text(json.dumps({"base_url": target.base_url, "pid": 1}))
    (home / "admin.key").write_text(f"{target.key}\n")
    monkeypatch.setattr(train, "LOOK_S", 0.05)
    return target


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_bytes(examples())
    return path


def test_a_job_is_watched_from_its_start_to_its_model(ms: Run, served: GovernedTarget, data: Path) -> None:
    ran = ms("train", str(data), "--model", "tiny", "--suffix", "mine", "--epochs", "1", "--seed", "3", "--watch")
    assert ran.code == 0, ran.err
    job_id, model = ran.out.split()
    assert model == f"ft:tiny:default:mine:{job_id[6:14]}"
    said = ran.err.splitlines()
    assert said[0] == "data.jsonl: uploading"
    assert said[1] == f"Created fine-tuning job: {job_id}"
    assert said[-1] == "The job has successfully completed"
    assert len(said) == len(set(said))


def test_start_may_be_said_and_a_file_may_be_one_that_is_there(ms: Run, served: GovernedTarget, data: Path) -> None:
    file_id = ms("files", "upload", str(data)).out.strip()
    ran = ms("train", "start", file_id, "--model", "tiny", "--validation", file_id, "--max-steps", "2", "--json")
    job = json.loads(ran.out)
    assert (job["training_file"], job["validation_file"], job["status"]) == (file_id, file_id, "validating_files")
    assert ms("train", "events", job["id"], "--watch").code == 0
    shown = ms("train", "show", job["id"])
    assert "status: succeeded" in shown.out
    assert f"step 2: {json.loads(ms('train', 'show', job['id'], '--json').out)['fine_tuned_model']}" in shown.out
    assert job["id"] in ms("train", "list").out
    assert [each["id"] for each in json.loads(ms("train", "list", "--limit", "1", "--json").out)] == [job["id"]]
    events = ms("train", "events", job["id"]).out.splitlines()
    assert "Created fine-tuning job" in events[0]
    assert json.loads(ms("train", "events", job["id"], "--json").out)[-1]["message"] == events[-1][20:]


def test_a_failure_is_a_no(ms: Run, served: GovernedTarget, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(examples("!fail"))
    ran = ms("train", str(path), "--model", "tiny", "--watch")
    assert ran.code == 1
    assert "this file asks to be refused" in ran.err
    assert ran.out.endswith("has failed.\n")


def test_pause_resume_cancel(ms: Run, served: GovernedTarget, tmp_path: Path) -> None:
    path = tmp_path / "slow.jsonl"
    path.write_bytes(examples("!slow 0.2"))
    job_id = ms("train", str(path), "--model", "tiny").out.strip()
    early = ms("train", "resume", job_id)
    assert (early.code, "only a paused job" in early.err) == (2, True)
    client = served.sdk("openai", _strict_response_validation=False)
    while client.fine_tuning.jobs.retrieve(job_id).status != "running":
        pass
    for verb, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert ms("train", verb, job_id).out == f"{job_id} is {status}.\n"


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(
    ms: Run, served: GovernedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slow.jsonl"
    path.write_bytes(examples("!slow 0.1"))

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train.time, "sleep", interrupt)
    ran = ms("train", str(path), "--model", "tiny", "--watch")
    job_id = ran.out.strip()
    assert ran.code == 130
    assert f"`mainspring train events {job_id} --watch` comes back" in ran.err
    job = served.sdk("openai").fine_tuning.jobs.retrieve(job_id)
    assert job.status not in ("cancelled", "failed")
    ms("train", "cancel", job_id)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "absent.jsonl"), "absent.jsonl is not a file."),
        (("train", "{data}", "--model", "no-such"), "not available for fine-tuning"),
        (("train", "{data}", "--model", "tiny", "--epochs", "99"), "n_epochs"),
        (("train", "{data}", "--model", "tiny", "--beta", "1"), "beta"),
        (("train", "{data}", "--model", "tiny", "--grader", "{data}"), "is not JSON"),
        (("train", "show", "ftjob-none"), "Could not find fine tune"),
    ],
)
def test_mistakes_are_one_sentence(
    ms: Run, served: GovernedTarget, data: Path, arguments: tuple[str, ...], says: str
) -> None:
    ran = ms(*(each.replace("{data}", str(data)) for each in arguments))
    assert ran.code == 2
    assert says in ran.err.splitlines()[-1]


def test_an_event_is_shown_once_and_no_older_page_is_asked_for() -> None:
    def event(number: int) -> dict:
        return {"id": f"e{number}", "type": "metrics", "data": {"train_loss": float(number)}}

    def pages(*numbers: int, limit: int):
        for at, number in enumerate(numbers):
            assert at < limit, "asked for more than is new"
            yield event(number)

    seen = Watch()
    assert [each["id"] for each in seen.news(pages(3, 2, 1, limit=3))] == ["e1", "e2", "e3"]
    assert seen.loss == 3.0
    assert seen.news(pages(3, 2, 1, limit=1)) == []
    assert [each["id"] for each in seen.news(pages(5, 4, 3, 2, limit=3))] == ["e4", "e5"]
    assert seen.loss == 5.0
