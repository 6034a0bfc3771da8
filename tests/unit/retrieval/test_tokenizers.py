"""Tokens are counted by the embedding model's own tokenizer, if it lies in the catalog."""

import shutil
from pathlib import Path

from mainspring.models.catalog import Catalog
from mainspring.wiring.retrieval import Tokenizers
from tests.contract.target import in_catalog


def test_the_model_s_own_tokenizer_counts(tmp_path: Path, embedding_folder: Path) -> None:
    catalog = Catalog(tmp_path / "models")
    version = in_catalog(tmp_path, "minilm", "abc", kind="embedding")
    shutil.copy(embedding_folder / "tokenizer.json", catalog.folder(version) / "tokenizer.json")
    count = Tokenizers(catalog)("minilm@abc")
    assert count is not None
    assert (count("The steam engine"), count("")) == (3, 0)
    assert count("word " * 2000) == 2000, "nothing is cut"


def test_without_one_it_is_an_estimate(tmp_path: Path) -> None:
    in_catalog(tmp_path, "other", "def", kind="embedding")
    tokenizers = Tokenizers(Catalog(tmp_path / "models"))
    assert tokenizers("other@def") is None
    assert tokenizers("none@x") is None
