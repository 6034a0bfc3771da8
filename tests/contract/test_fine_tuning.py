"""fine_tuning with the official clients in every dialect, over all of governance and the fake trainer in processes of
its own: jobs from their creation to their model, pages, what is refused, who shares what."""

import json
import time
from collections.abc import Generator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.contract.observed import GRADERS, run
from tests.contract.spec import check
from tests.contract.target import API_VERSION, GovernedTarget, governed, in_catalog
from tests.contract.test_node import FOLDER, NODE, PACKAGE
from tests.unit.train.installation import examples

ENDS = ("succeeded", "failed", "cancelled")
WAIT_S = 240
FOLDERS = {"openai": "/v1", "azure_v1": "/openai/v1", "azure": "/openai"}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[GovernedTarget]:
    home = tmp_path_factory.mktemp("tuning")
    in_catalog(home, "tiny", "abc")
    in_catalog(home, "vectors", "def", kind="embedding")
    in_catalog(home, "ft:tiny:default:judge:1", "aaa", kind="reward", project="default")
    in_catalog(home, "ft:tiny:other:judge:2", "bbb", kind="reward", project="other")
    in_catalog(home, "ft:tiny:other::3", "ccc", project="other")
    with governed(home) as found:
        yield found


USAGE = "/v1/organization/usage"


def upload(client: OpenAI, spell: str = "", count: int = 12, purpose: str = "fine-tune") -> str:
    made = client.files.create(file=("data.jsonl", examples(spell, count)), purpose=purpose)  # type: ignore[arg-type]
    return made.id


def create(client: OpenAI, spell: str = "", **more: Any) -> FineTuningJob:
    return client.fine_tuning.jobs.create(
        **{"model": "tiny", "training_file": upload(client, spell), "seed": 7, **more}
    )


def until(client: OpenAI, job_id: str, *statuses: str) -> tuple[FineTuningJob, list[str]]:
    """The job once it is in one of the statuses, and those that were seen on the way."""
    seen: list[str] = []
    deadline = time.monotonic() + WAIT_S
    while True:
        job = client.fine_tuning.jobs.retrieve(job_id)
        if not seen or seen[-1] != job.status:
            seen.append(job.status)
        if job.status in (statuses or ENDS):
            return job, seen
        assert job.status not in ENDS, job.error
        assert time.monotonic() < deadline, seen
        time.sleep(0.03)


def raw(target: GovernedTarget, dialect: str, path: str, method: str = "GET", **more: Any) -> Any:
    """The answer of plain HTTP to a path below fine_tuning."""
    query = {"api-version": API_VERSION} if dialect == "azure" else {}
    with target.http() as client:
        url = f"{FOLDERS[dialect]}/fine_tuning/{path}"
        return client.request(method, url, params={**query, **more.pop("params", {})}, **more)


def test_a_supervised_job_reaches_succeeded(target: GovernedTarget, dialect: str) -> None:
    """Checklist 48."""
    client = target.sdk(dialect)
    job = create(
        client, "!slow 0.03", suffix="my suffix", metadata={"a": "b"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )  # fmt: skip
    assert job.status == "validating_files"
    assert job.hyperparameters.n_epochs == 2
    assert job.hyperparameters.batch_size == "auto"
    check("FineTuningJob", raw(target, dialect, f"jobs/{job.id}").json())
    done, seen = until(client, job.id)
    assert seen == [status for status in ("validating_files", "queued", "running", "succeeded") if status in seen]
    assert seen[-2:] == ["running", "succeeded"]
    assert done.fine_tuned_model == f"ft:tiny:default:my-suffix:{job.id[6:14]}"
    assert done.trained_tokens and done.finished_at and done.finished_at >= done.created_at  # noqa: PT018
    assert done.hyperparameters.batch_size == 2, "what was chosen is said"
    assert (done.metadata, done.seed, done.error) == ({"a": "b"}, 7, None)
    said = [event.message for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "message"][::-1]
    order = ["Created fine-tuning job", "Validating training file", "Files validated", "Fine-tuning job started",
             "Checkpoint created at step 6", "Checkpoint created at step 12", "New fine-tuned model created",
             "The job has successfully completed"]  # fmt: skip
    assert [next(at for at, each in enumerate(said) if each.startswith(start)) for start in order] == sorted(
        next(at for at, each in enumerate(said) if each.startswith(start)) for start in order
    )
    [results] = done.result_files
    table = client.files.content(results).text.splitlines()
    assert table[0].startswith("step,train_loss,train_accuracy")
    assert len(table) == 13
    assert client.files.retrieve(results).purpose == "fine-tune-results"
    check("FineTuningJob", raw(target, dialect, f"jobs/{job.id}").json())


def test_a_preference_job_whose_events_and_checkpoints_paginate(target: GovernedTarget, dialect: str) -> None:
    """Checklist 49."""
    client = target.sdk(dialect)
    method: Any = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": 3}}}
    job = create(client, method=method)
    assert job.method is not None
    assert job.method.type == "dpo"
    assert job.method.dpo.hyperparameters.beta == 0.1  # type: ignore[union-attr]
    until(client, job.id)
    for pages, schema in (
        (client.fine_tuning.jobs.list_events, "ListFineTuningJobEventsResponse"),
        (client.fine_tuning.jobs.checkpoints.list, "ListFineTuningJobCheckpointsResponse"),
    ):
        whole = [each.id for each in pages(job.id, limit=100)]
        first = pages(job.id, limit=2)
        assert len(first.data) == 2
        assert first.has_more
        assert [each.id for each in first] == whole
        assert len(set(whole)) == len(whole)
        check(schema, raw(target, dialect, f"jobs/{job.id}/{schema[17:-8].lower()}").json())
    [last, second, first] = client.fine_tuning.jobs.checkpoints.list(job.id)
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert last.fine_tuned_model_checkpoint == done.fine_tuned_model
    assert second.fine_tuned_model_checkpoint == f"{done.fine_tuned_model}:ckpt-step-12"
    assert (first.step_number, first.metrics.step, first.fine_tuning_job_id) == (6, 6, job.id)
    metrics = [event for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
    assert [event.data["step"] for event in metrics] == list(range(18, 0, -1))  # type: ignore[index]


def test_pause_resume_cancel_and_what_is_refused(target: GovernedTarget, dialect: str) -> None:
    """Checklist 50. The package's own enumeration lacks "paused": a strict client refuses OpenAI's example too."""
    client = target.sdk(dialect, _strict_response_validation=False)
    jobs = client.fine_tuning.jobs
    job = create(client, "!slow 0.2")
    until(client, job.id, "running")
    assert jobs.pause(job.id).status == "paused"
    refused(lambda: jobs.pause(job.id), "invalid_job_state", "paused")
    assert jobs.resume(job.id).status == "queued"
    until(client, job.id, "running")
    refused(lambda: jobs.resume(job.id), "invalid_job_state", "only a paused job")
    assert jobs.cancel(job.id).status == "cancelled"
    for illegal in (jobs.cancel, jobs.pause, jobs.resume):
        refused(lambda illegal=illegal: illegal(job.id), "invalid_job_state", "cancelled")
    ended = jobs.retrieve(job.id)
    assert ended.status == "cancelled"
    assert ended.finished_at
    assert ended.fine_tuned_model is None
    assert next(iter(jobs.list_events(job.id))).message == "Fine-tuning job cancelled"


def refused(act: Any, code: str | None, says: str, param: str | None = None) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        act()
    body: Any = caught.value.body
    check("ErrorResponse", {"error": body})
    assert says in body["message"], body
    assert code is None or body["code"] == code
    assert param is None or body["param"] == param


def test_jobs_are_listed_newest_first_and_by_metadata(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    tag = f"{dialect}-{time.monotonic_ns()}"
    made = [create(client, "!fail", metadata={"tag": tag, "n": str(n)}) for n in range(3)]
    plain = create(client, "!fail")
    listed = client.fine_tuning.jobs.list(limit=2)
    assert [each.id for each in listed.data] == [plain.id, made[2].id]
    assert listed.has_more
    found = client.fine_tuning.jobs.list(metadata={"tag": tag}, limit=2)
    assert [each.id for each in found] == [each.id for each in made[::-1]]
    assert [each.id for each in client.fine_tuning.jobs.list(metadata={"tag": tag, "n": "1"})] == [made[1].id]
    body = raw(target, dialect, "jobs", params={"metadata": "null"}).json()
    assert plain.id in {each["id"] for each in body["data"]}
    assert not {each["id"] for each in body["data"]} & {each.id for each in made}
    check("ListPaginatedFineTuningJobsResponse", body)
    refused(lambda: client.fine_tuning.jobs.list(after="ftjob-none"), None, "'after'", "after")


def test_a_failed_job_says_why(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    job, _ = until(client, create(client, "!fail").id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training")
    few, _ = until(client, client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, count=3)).id)
    assert few.error is not None
    assert few.error.message == "Training file has 3 example(s), but must have at least 10 examples"
    check("FineTuningJob", raw(target, dialect, f"jobs/{job.id}").json())


SUPERVISED = {"type": "supervised"}


@pytest.mark.parametrize(
    ("fields", "code", "param", "says"),
    [
        ({"model": "no-such"}, "model_not_available", "model", "not available for fine-tuning or does not exist"),
        ({"model": "vectors"}, "model_not_available", "model", "not available"),
        ({"training_file": "file-none"}, "invalid_training_file", "training_file", "invalid training_file: file-none"),
        ({"validation_file": "file-none"}, "invalid_validation_file", "validation_file", "file-none"),
        ({"suffix": "x" * 65}, None, "suffix", "64"),
        ({"seed": -1}, None, "seed", "-1"),
        ({"hyperparameters": {"n_epochs": 51}}, None, "hyperparameters.n_epochs", "51"),
        ({"hyperparameters": {"n_epochs": "many"}}, None, "hyperparameters.n_epochs", "auto"),
        ({"hyperparameters": {"batch_size": 257}}, None, "hyperparameters.batch_size", "257"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}}, None, "hyperparameters.learning_rate_multiplier", "0"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.5}}}}, None,
         "method.dpo.hyperparameters.beta", "2.5"),
        ({"method": {"type": "supervised", "dpo": {}}}, None, "method.dpo", "the method is 'supervised'"),
        ({"method": {"type": "guess"}}, None, "method.type", "guess"),
        ({"method": {"type": "reinforcement"}}, "missing_required_parameter", "method.reinforcement", "Missing"),
        ({"method": {"type": "reinforcement", "reinforcement": {"grader": {"type": "none"}}}}, None, None, "grader"),
        ({"metadata": {"k": "v" * 513}}, None, "metadata.k", "512"),
        ({"integrations": [{"type": "other"}]}, None, "integrations[0].type", "other"),
        ({"trainingType": "Sometimes"}, "invalid_value", "trainingType", "Sometimes"),
        ({"n_epochs": 3}, "unknown_parameter", "n_epochs", "Unknown"),
    ],
)  # fmt: skip
def test_what_a_job_cannot_be(
    target: GovernedTarget, fields: dict[str, Any], code: str | None, param: str | None, says: str
) -> None:
    body = {"model": "tiny", "training_file": upload(target.sdk("openai")), **fields}
    answer = raw(target, "openai", "jobs", "POST", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert says in error["message"], error
    assert code is None or error["code"] == code
    assert param is None or error["param"] == param


def test_a_file_for_something_else_is_refused(target: GovernedTarget) -> None:
    client = target.sdk("openai")
    file = upload(client, purpose="user_data")
    refused(
        lambda: client.fine_tuning.jobs.create(model="tiny", training_file=file), "invalid_file_purpose",
        "upload it with the purpose 'fine-tune'", "training_file",
    )  # fmt: skip


def test_older_hyperparameters_azure_s_type_and_what_is_ours(target: GovernedTarget, dialect: str) -> None:
    body = {
        "model": "tiny", "training_file": upload(target.sdk("openai")), "hyperparameters": {"n_epochs": 1},
        "trainingType": "Developer", "options": {"rank": 4, "max_steps": 2},
        "integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": ["x"]}}],
    }  # fmt: skip
    made = raw(target, dialect, "jobs", "POST", json=body).json()
    assert made["hyperparameters"]["n_epochs"] == 1
    assert made["method"]["supervised"]["hyperparameters"]["n_epochs"] == 1
    assert (made["trainingType"], made["priority"]) == ("Developer", -1)
    assert made["integrations"][0]["wandb"] == {"project": "p", "name": None, "entity": None, "tags": ["x"]}
    client = target.sdk(dialect)
    done, _ = until(client, made["id"])
    assert done.status == "succeeded"
    assert any("Weights & Biases" in event.message for event in client.fine_tuning.jobs.list_events(done.id))
    assert next(iter(client.fine_tuning.jobs.checkpoints.list(done.id))).step_number == 2


def test_only_an_administrator_puts_a_job_before_others(target: GovernedTarget) -> None:
    contributor = target.sdk("openai", target.make_key(role="contributor"))
    refused(lambda: create(contributor, "!fail", extra_body={"priority": 1}), None, "administrator", "priority")
    for client, priority in ((contributor, -3), (target.sdk("openai"), 5)):
        job = create(client, "!fail", extra_body={"priority": priority})
        assert job.priority == priority  # type: ignore[attr-defined]


def test_another_project_s_job_is_not_found(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("elsewhere"))
    mine, theirs = target.sdk("openai"), target.sdk("openai", target.make_key(role="contributor", project="elsewhere"))
    job = create(mine, "!fail")
    for look in (
        theirs.fine_tuning.jobs.retrieve, theirs.fine_tuning.jobs.cancel, theirs.fine_tuning.jobs.list_events,
        theirs.fine_tuning.jobs.checkpoints.list,
    ):  # fmt: skip
        with pytest.raises(openai.NotFoundError) as caught:
            look(job.id)
        assert f"Could not find fine tune: {job.id}" in caught.value.message
    refused(
        lambda: theirs.fine_tuning.jobs.create(model="tiny", training_file=job.training_file), "invalid_training_file",
        "invalid training_file",
    )  # fmt: skip
    assert job.id not in {each.id for each in theirs.fine_tuning.jobs.list()}


def test_a_project_that_goes_takes_its_jobs_along(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("short-lived"))
    client = target.sdk("openai", target.make_key(role="contributor", project="short-lived"))
    running = create(client, "!slow 0.2")
    until(client, running.id, "running")
    target.run(target.control.projects.remove("short-lived"))
    target.run(target.control.projects.put("short-lived"))
    again = target.sdk("openai", target.make_key(role="contributor", project="short-lived"))
    assert again.fine_tuning.jobs.retrieve(running.id).status == "cancelled"


def test_permissions_of_a_checkpoint(target: GovernedTarget, dialect: str) -> None:
    client = target.sdk(dialect)
    done, _ = until(client, create(client).id)
    name = done.fine_tuned_model
    assert name is not None
    permissions = client.fine_tuning.checkpoints.permissions
    made = list(permissions.create(name, project_ids=["one", "two", "one"]))
    assert [each.project_id for each in made] == ["one", "two"]
    again = list(permissions.create(name, project_ids=["two", "three"]))
    assert again[0].id == made[1].id
    whole = [each.project_id for each in permissions.list(name, order="ascending")]
    assert sorted(whole) == ["one", "three", "two"]
    assert [each.project_id for each in permissions.list(name)] == whole[::-1]
    assert [each.project_id for each in permissions.list(name, limit=1)] == whole[::-1], "pages go on"
    assert [each.project_id for each in permissions.list(name, project_id="two")] == ["two"]
    check("ListFineTuningCheckpointPermissionResponse", raw(target, dialect, f"checkpoints/{name}/permissions").json())
    gone = permissions.delete(made[0].id, fine_tuned_model_checkpoint=name)
    assert (gone.id, gone.deleted) == (made[0].id, True)
    check("DeleteFineTuningCheckpointPermissionResponse", json.loads(gone.to_json()))
    with pytest.raises(openai.NotFoundError):
        permissions.delete(made[0].id, fine_tuned_model_checkpoint=name)
    with pytest.raises(openai.NotFoundError):
        permissions.create("ft:tiny:default::none", project_ids=["one"])


@pytest.mark.parametrize("dialect", ["azure", "azure_v1"])
def test_a_checkpoint_is_copied_to_another_account(target: GovernedTarget, dialect: str) -> None:
    """Azure's copies: here the other project may use it."""
    client = target.sdk(dialect)
    done, _ = until(client, create(client).id)
    name, project = done.fine_tuned_model, f"copies-{dialect.replace('_', '-')}"
    target.run(target.control.projects.put(project))
    [checkpoint, *_] = client.fine_tuning.jobs.checkpoints.list(done.id)
    group = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/default/providers"
    account = f"{group}/Microsoft.CognitiveServices/accounts/{project}"
    path, wanted = (
        f"jobs/{done.id}/checkpoints/{checkpoint.id}/copy",
        {"destinationResourceId": account, "region": "Local"},
    )
    assert raw(target, dialect, path).json()["copiedAccountDetails"] == []
    copied = raw(target, dialect, path, "POST", json=wanted).json()
    assert copied == {
        "checkpointedModelName": name, "fineTuningJobId": done.id,
        "copiedAccountDetails": [{"destinationResourceId": account, "region": "local", "status": "Completed"}],
    }  # fmt: skip
    [one] = raw(target, dialect, f"jobs/{done.id}/checkpoints/{name}/copy").json()["copiedAccountDetails"]
    assert one["destinationResourceId"].endswith(f"/accounts/{project}")
    assert [each.project_id for each in client.fine_tuning.checkpoints.permissions.list(str(name))] == [project]
    for changes, param in (
        ({"region": "westus"}, "region"),
        ({"destinationResourceId": account.replace(project, "nobody")}, "destinationResourceId"),
        ({"destinationResourceId": project}, "destinationResourceId"),
        ({"region": None}, "region"),
    ):
        answer = raw(target, dialect, path, "POST", json={**wanted, **changes})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    for path in (f"jobs/{done.id}/checkpoints/ftckpt_none/copy", f"jobs/ftjob-none/checkpoints/{checkpoint.id}/copy"):
        assert raw(target, dialect, path).status_code == 404


def test_models_of_other_projects_are_neither_bases_nor_graders(target: GovernedTarget) -> None:
    client = target.sdk("azure_v1")  # whose answers the SDK takes as they are: it knows no reward models

    def reinforced(name: str, as_part: bool) -> FineTuningJob:
        judge: Any = {"type": "reward_model", "name": "judge", "model": name}
        multi = {"type": "multi", "name": "all", "graders": {"one": judge}, "calculate_output": "one"}
        return create(
            client, method={"type": "reinforcement", "reinforcement": {"grader": multi if as_part else judge}}
        )

    for as_part in (False, True):
        client.fine_tuning.jobs.cancel(reinforced("ft:tiny:default:judge:1", as_part).id)
        for name in ("ft:tiny:other:judge:2", "ft:tiny:other:judge:2@bbb", "tiny", "none"):
            with pytest.raises(openai.BadRequestError, match="does not exist") as caught:
                reinforced(name, as_part)
            assert caught.value.param == "method.reinforcement.grader"
    for name in ("ft:tiny:other::3", "ft:tiny:other::3@ccc"):
        with pytest.raises(openai.BadRequestError) as caught:
            create(client, model=name)
        assert caught.value.code == "model_not_available"


@pytest.mark.parametrize("as_part", [False, True])
def test_a_deployment_grades_for_a_job_in_its_own_process(target: GovernedTarget, as_part: bool) -> None:
    client = target.sdk("azure_v1")  # as above: it does not know the guide's own form of a multi grader

    def reinforced(model: str) -> FineTuningJob:
        judge: Any = {**GRADERS["score_model"][0], "model": model, "range": [3.0, 4.0]}
        judge["input"] = [{"role": "user", "content": "How good is {{sample.output_text}}?"}]
        multi = {"type": "multi", "name": "all", "graders": {"one": judge}, "calculate_output": "one + 10"}
        return create(
            client, method={"type": "reinforcement", "reinforcement": {"grader": multi if as_part else judge}}
        )

    job, _ = until(client, reinforced("fake").id)
    assert job.status == "succeeded", job.error
    (said,) = [
        each.message for each in client.fine_tuning.jobs.list_events(job.id) if each.message.startswith("The word")
    ]
    worth = float(said.rpartition(" ")[2]) - 10 * as_part
    assert 3 <= worth <= 4, said
    asked = {"start_time": int(time.time()) - 3600, "group_by": "model", "bucket_width": "1h"}
    deadline = time.monotonic() + WAIT_S
    with target.http() as http:
        while not any(bucket["results"] for bucket in http.get(f"{USAGE}/completions", params=asked).json()["data"]):
            assert time.monotonic() < deadline, "it is not in the ledger"
            time.sleep(0.1)
    for name in ("none", "fake-embed"):
        with pytest.raises(openai.BadRequestError) as caught:
            reinforced(name)
        assert caught.value.param == "method.reinforcement.grader"


def test_an_effort_that_would_be_ignored_is_refused(target: GovernedTarget) -> None:
    grader = {
        "type": "string_check",
        "name": "a",
        "input": "{{sample.output_text}}",
        "reference": "b",
        "operation": "eq",
    }
    body = {"grader": grader, "hyperparameters": {"reasoning_effort": "high"}}
    with pytest.raises(openai.BadRequestError) as caught:
        create(target.sdk("openai"), method={"type": "reinforcement", "reinforcement": body})
    assert caught.value.param == "method.reinforcement.hyperparameters.reasoning_effort"


def test_a_project_has_a_limit_of_jobs(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("limits")
    in_catalog(home, "tiny", "abc")
    with governed(home, training={"jobs_per_project": 2, "jobs_per_day": 3, "concurrent": 0}) as limited:
        client = limited.sdk("openai")
        jobs = [create(client) for _ in range(2)]
        with pytest.raises(openai.RateLimitError) as caught:
            create(client)
        assert caught.value.code == "active_job_limit_exceeded"
        client.fine_tuning.jobs.cancel(jobs[0].id)
        client.fine_tuning.jobs.cancel(create(client).id)
        with pytest.raises(openai.RateLimitError) as caught:
            create(client)
        assert caught.value.code == "daily_rate_limit_exceeded"


@pytest.mark.skipif(NODE is None or not PACKAGE.exists(), reason="the npm package openai is not installed")
def test_items_48_to_50_with_the_npm_package(target: GovernedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAMPLES", examples().decode())
    monkeypatch.setenv("SLOW", examples("!slow 0.5").decode())
    seen = run([str(NODE), str(FOLDER / "finetuning.mjs")], target)
    assert seen.keys() == {"openai", "azure", "azure_v1"}
    for found in seen.values():
        check("FineTuningJob", found["job"])
        order = ["validating_files", "queued", "running", "succeeded"]
        assert found["seen"] == [status for status in order if status in found["seen"]]
        assert found["job"]["fine_tuned_model"].startswith("ft:tiny:default::")
        assert len(set(found["events"])) == len(found["events"]) > 6
        assert found["checkpoints"] == sorted(found["checkpoints"], reverse=True)
        assert found["results"].startswith("step,train_loss")
        refused = {"kind": "BadRequestError", "status": 400, "code": "invalid_job_state"}
        assert (found["paused"], found["resumed"], found["cancelled"]) == ("paused", "queued", "cancelled")
        assert found["twice"] == found["over"] == refused
        assert found["newest"]
