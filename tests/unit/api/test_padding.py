"""Padding: the changing part of a chunk has the same size for every usual token."""

import json

import pytest

from mainspring.api.openai.padding import padding


@pytest.mark.parametrize("text", ["", "a", " called", "x" * 15, "x" * 16, "x" * 40, "\n\t", '"\\', "你好", "🙂🙂🙂"])
def test_the_sum_is_a_multiple_of_the_bucket(text: str) -> None:
    written = len(json.dumps(text, ensure_ascii=False).encode()) - 2
    added = padding(text)
    assert 1 <= len(added) <= 16
    assert (written + len(added)) % 16 == 0
    assert added.isalnum()


def test_it_is_not_always_the_same() -> None:
    assert len({padding("word") for _ in range(20)}) > 1
