"""The index that ships: what only files can be, broken or on a disk that is full."""

import errno
from pathlib import Path

import pytest

from mainspring.core.errors import StorageFull
from mainspring.retrieval.embedded import EmbeddedIndex
from mainspring.retrieval.index import IndexBroken
from tests.unit.retrieval.test_index import DIMENSIONS, pages, vector


def test_what_is_broken_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    index = EmbeddedIndex(folder, DIMENSIONS)
    index.add("a", pages(["penguin"]))
    index.close()
    with pytest.raises(IndexBroken):
        EmbeddedIndex(folder, DIMENSIONS + 1)
    (folder / "vectors.f32").write_bytes(b"short")
    index = EmbeddedIndex(folder, DIMENSIONS)
    with pytest.raises(IndexBroken):
        index.by_vector(vector("x"), 3)
    index.close()
    (folder / "index.db").write_bytes(b"nothing of the kind" * 1000)
    with pytest.raises(IndexBroken):
        EmbeddedIndex(folder, DIMENSIONS)


def test_a_disk_that_is_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = EmbeddedIndex(tmp_path / "index", DIMENSIONS)
    index.add("a", pages(["penguin"]))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mainspring.retrieval.embedded.os.fsync", full)
        with pytest.raises(StorageFull):
            index.add("b", pages(["krill"]))
    assert index.entries() == {"a"}
    index.close()
