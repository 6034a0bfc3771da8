"""The servers under test: `target` is every one of them in turn, `fake` is the fake alone."""

from collections.abc import Generator

import pytest

from mainspring.core import log
from tests.contract.target import DIALECTS, Target, fake_target

TARGETS = {"fake": fake_target}


@pytest.fixture(scope="session", autouse=True)
def _quiet_logs() -> None:
    log.configure("error", terminal=False)


@pytest.fixture(scope="session")
def fake() -> Generator[Target]:
    with fake_target() as target:
        yield target


@pytest.fixture(scope="session", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Generator[Target]:
    with TARGETS[request.param]() as started:
        yield started


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return request.param
