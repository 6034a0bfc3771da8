"""Sentences against passages by their vectors: the nearest part counts, and nothing is computed twice."""

import pytest

from mainspring.core.errors import RateLimited
from mainspring.engine.fake import FakeEmbedder
from mainspring.retrieval.aligning import MAX_KEPT, MAX_PARTS, Aligning, windows
from mainspring.retrieval.vectors import Vectors
from tests.unit.retrieval.installation import Models

WHO = {"project": "default", "tenant": "t"}
PASSAGE = "Penguins eat krill. A boiler makes steam.\nBread is baked of flour."


def made(*embedders: FakeEmbedder) -> Aligning:
    models = Models(*embedders)
    return Aligning(Vectors(embed=models.embed, models=models))


def test_a_passage_is_its_sentences_and_those_that_follow_one_another() -> None:
    assert windows(PASSAGE) == [
        "Penguins eat krill.", "Penguins eat krill. A boiler makes steam.", "A boiler makes steam.",
        "A boiler makes steam. Bread is baked of flour.", "Bread is baked of flour.",
    ]  # fmt: skip
    assert windows(" \n ") == []
    assert len(windows("Yes. " * 500)) == MAX_PARTS


async def test_the_nearest_part_counts() -> None:
    pairs = [("A boiler makes steam.", PASSAGE), ("A boiler makes steam.", "Penguins swim."), ("Yes.", "")]
    same, other, nothing = await made(FakeEmbedder(dimensions=64))(pairs, **WHO) or ()
    assert same == pytest.approx(1, abs=1e-5)
    assert other < 0.5
    assert nothing == 0


async def test_a_passage_that_is_cited_again_is_not_computed_again() -> None:
    embedder = FakeEmbedder()
    align = made(embedder)
    first = await align([("Bread is baked.", PASSAGE)], **WHO)
    assert len(embedder.requests[-1].inputs) == 6
    assert await align([("Bread is baked.", PASSAGE)], **WHO) == first
    assert embedder.requests[-1].inputs == ("Bread is baked.",)
    assert (embedder.requests[-1].project, embedder.requests[-1].tenant) == ("default", "t")
    for at in range(MAX_KEPT):
        await align([("Bread.", f"Passage {at}.")], **WHO)
    await align([("Bread is baked.", PASSAGE)], **WHO)
    assert len(embedder.requests[-1].inputs) == 6, "memory is bounded"


async def test_long_parts_are_cut_to_what_the_model_reads() -> None:
    assert len(await made(FakeEmbedder())([("word " * 90, "word " * 300)], **WHO) or ()) == 1


async def test_without_a_model_nothing_is_said_and_its_errors_are_raised() -> None:
    assert await made()([("a", "b")], **WHO) is None
    with pytest.raises(RateLimited):
        await made(FakeEmbedder())([("a !raise RateLimited", "b")], **WHO)
