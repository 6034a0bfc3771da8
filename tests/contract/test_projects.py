"""What belongs to one project is not another's."""

from collections.abc import Generator
from pathlib import Path

import pytest
from openai import AzureOpenAI, NotFoundError, OpenAI, PermissionDeniedError, RateLimitError

from mainspring.core.types import Limits
from mainspring.governance.wanted import Deployment
from tests.contract.target import API_VERSION, GovernedTarget, governed, in_catalog


@pytest.fixture
def target(tmp_path: Path) -> Generator[GovernedTarget]:
    in_catalog(tmp_path, "tiny", "1")
    with governed(tmp_path) as found:
        projects = found.control.projects

        async def make() -> None:
            for name in ("red", "blue"):
                await projects.put(name)
                wanted = Deployment(project=name, name=f"{name}-chat", model="tiny", version="", capacity=1000)
                await projects.deploy(wanted)
            await found.control.directory.refresh(projects)

        found.run(make())
        yield found


def ask(client: OpenAI, model: str):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=3)


def test_a_key_is_for_its_own_project(target: GovernedTarget) -> None:
    key, _ = target.run(target.control.projects.keys("red"))
    own = target.sdk("openai", key)
    assert [model.id for model in own.models.list()] == ["red-chat"]
    assert ask(own, "red-chat").choices
    for name in ("blue-chat", "fake", "tiny@1"):
        with pytest.raises(NotFoundError):
            ask(own, name)
    for other in ("blue", "default"):
        elsewhere = AzureOpenAI(
            azure_endpoint=f"{target.base_url}/projects/{other}", api_key=key, api_version=API_VERSION, max_retries=0
        )
        with pytest.raises(PermissionDeniedError):
            ask(elsewhere, "blue-chat")
        with pytest.raises(PermissionDeniedError):
            ask(target.sdk("openai", key, project=other), "blue-chat")


def test_an_administrator_names_the_project(target: GovernedTarget) -> None:
    assert ask(target.sdk("openai", project="blue"), "blue-chat").choices
    with pytest.raises(NotFoundError):
        ask(target.sdk("openai"), "blue-chat")
    with pytest.raises(NotFoundError):
        ask(target.sdk("openai", project="no-such-project"), "blue-chat")


def test_a_key_for_some_deployments_is_for_no_others(target: GovernedTarget) -> None:
    key = target.make_key(project="red", deployments=("another",))
    with pytest.raises(PermissionDeniedError, match="not for the deployment 'red-chat'"):
        ask(target.sdk("openai", key), "red-chat")


def test_a_project_s_limits_are_for_all_of_its_keys(target: GovernedTarget) -> None:
    target.run(target.control.projects.put("red", limits=Limits(tokens_per_day=20)))
    target.run(target.control.directory.refresh(target.control.projects))
    first, second = (target.sdk("openai", target.make_key(project="red")) for _ in range(2))

    def spend(client: OpenAI) -> None:
        for _ in range(20):
            ask(client, "red-chat")

    with pytest.raises(RateLimitError, match="The project 'red' has"):
        spend(first)
    with pytest.raises(RateLimitError, match="The project 'red' has"):
        ask(second, "red-chat")


@pytest.mark.parametrize("path", ["/projects/red/healthz", "/projects/red/readyz"])
def test_what_is_public_is_so_in_every_project(target: GovernedTarget, path: str) -> None:
    with target.http("") as client:
        assert client.get(path).status_code == 200
        assert client.get("/projects/red/v1/models").status_code == 401
        assert client.get("/projects//v1/models").status_code == 401
