"""The servers under test: `target` is every one of them in turn, `fake` is the fake alone."""

import contextlib
from collections.abc import Generator

import pytest

from mainspring.core import log
from tests.contract.target import DIALECTS, Target, fake_target
from tests.e2e.server import running


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    log.configure("error", terminal=False)


@pytest.fixture(scope="session")
def fake() -> Generator[Target]:
    with fake_target() as target:
        yield target


@contextlib.contextmanager
def smollm2_target(model_file) -> Generator[Target]:
    """The whole product on the default model."""
    with running(model_file) as server, server.http() as client:
        model = client.get("/v1/models").json()["data"][0]
        yield Target(
            base_url=server.base_url, key=server.key, model=model["id"], context_length=model["context_length"]
        )


@pytest.fixture(scope="session")
def _smollm2(request: pytest.FixtureRequest) -> Generator[Target]:
    with smollm2_target(request.getfixturevalue("model_file")) as ready:
        yield ready


@pytest.fixture(scope="session", params=["fake", pytest.param("smollm2", marks=pytest.mark.model)])
def target(request: pytest.FixtureRequest) -> Target:
    return request.getfixturevalue("fake" if request.param == "fake" else "_smollm2")


@pytest.fixture(scope="session")
def model_target(_smollm2: Target) -> Target:
    """The product on the default model, for what the fake cannot do."""
    return _smollm2


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return request.param
