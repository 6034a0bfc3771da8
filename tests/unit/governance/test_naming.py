"""What projects are called."""

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.governance.naming import check_title, free_name, project_name


@pytest.mark.parametrize(
    ("title", "name"),
    [("Research", "research"), ("R & D (2026)", "r-d-2026"), ("--x--", "x"), ("a" * 80, "a" * 64), ("Ünï x", "n-x")],
)
def test_a_name_is_like_the_title(title: str, name: str) -> None:
    assert free_name((), title) == name
    assert project_name(name) == name


@pytest.mark.parametrize("title", ["Research", "研究", "a" * 80, "!"])
def test_a_name_that_is_taken_or_none_gets_some_dice(title: str) -> None:
    taken = {free_name((), title)}
    found = {free_name(taken, title) for _ in range(20)}
    assert len(found) == 20
    assert not found & taken
    assert all(project_name(each) == each for each in found)


@pytest.mark.parametrize("title", ["", " x", "x ", "a\nb", "a\0b", "x" * 257, "\ud800"])
def test_what_nobody_can_call_a_project(title: str) -> None:
    with pytest.raises(InvalidRequest):
        check_title(title)
