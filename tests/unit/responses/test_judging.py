"""Annotations that wait for a model: scored, in their order, and never longer than it takes."""

import asyncio
from collections.abc import Sequence

import pytest

from mainspring.core.errors import RateLimited
from mainspring.responses import judging
from mainspring.responses.items import FileCitation
from mainspring.responses.judging import NEAR, WORDS, Judge, Waiting
from mainspring.responses.tools import Annotated


def cited(sentence: str, *, supported: bool = False, claim: bool = True) -> Annotated:
    return Annotated(FileCitation("file-1", sentence, 3, supported), (sentence, "passage") if claim else None)


class Vectors:
    """An `Align` that answers when it is told to."""

    def __init__(self, **scores: float) -> None:
        self.scores, self.asked = scores, list[tuple[str, str]]()
        self.gates = {name: asyncio.Event() for name in scores}

    async def __call__(self, pairs: Sequence[tuple[str, str]], *, project: str, tenant: str) -> Sequence[float]:
        assert (project, tenant) == ("p", "t")
        self.asked += pairs
        for sentence, _ in pairs:
            await self.gates[sentence].wait()
        return [self.scores[sentence] for sentence, _ in pairs]


def scores(found: Sequence[Annotated]) -> list[tuple[str, bool, object]]:
    seen: list[tuple[str, bool, object]] = []
    for each in found:
        assert isinstance(each.annotation, FileCitation)
        seen.append((each.annotation.filename, each.annotation.supported is True, each.annotation.support_score))
    return seen


async def test_words_or_vectors_are_enough() -> None:
    align = Vectors(near=NEAR, far=NEAR - 0.01, copied=0.1234)
    for gate in align.gates.values():
        gate.set()
    found = [cited("near"), cited("far"), cited("file", claim=False), cited("copied", supported=True)]
    judged = await Judge(align, "p", "t")(found)
    assert scores(judged) == [
        ("near", True, NEAR), ("far", False, round(NEAR - 0.01, 3)), ("file", False, found[2].annotation.support_score),  # type: ignore[union-attr]
        ("copied", True, 0.123),
    ]  # fmt: skip
    assert align.asked == [("near", "passage"), ("far", "passage"), ("copied", "passage")]


async def refuses(pairs: Sequence[tuple[str, str]], *, project: str, tenant: str) -> Sequence[float]:
    raise RateLimited("Too many.", retry_after_s=1.0)


async def no_model(pairs: Sequence[tuple[str, str]], *, project: str, tenant: str) -> None:
    return None


async def hangs(pairs: Sequence[tuple[str, str]], *, project: str, tenant: str) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("align", [refuses, no_model, hangs, None])
async def test_without_vectors_words_decide(align: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MAX_WAIT_S", 0.01)
    found = [cited("a"), cited("b", supported=True)]
    assert await Judge(align)(found) == found  # type: ignore[arg-type]


async def test_annotations_come_in_their_order_when_they_are_judged() -> None:
    align = Vectors(one=0.9, two=0.1)
    waiting = Waiting(Judge(align, "p", "t"))
    waiting.put(cited("one"))
    waiting.put(cited("two"))
    waiting.put(cited("file", claim=False))
    align.gates["two"].set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.ready() == [], "the first is not judged yet"
    align.gates["one"].set()
    told = await waiting.rest()
    assert [name for name, *_ in scores(told)] == ["one", "two", "file"]
    assert waiting.ready() == []


async def test_what_nobody_wants_any_more_is_given_up() -> None:
    align = Vectors(one=0.9)
    waiting = Waiting(Judge(align, "p", "t"))
    waiting.put(cited("one"))
    await asyncio.sleep(0)
    waiting.close()
    await asyncio.sleep(0)
    assert await waiting.rest() == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_without_a_model_nothing_waits() -> None:
    waiting = Waiting(WORDS)
    waiting.put(cited("one"))
    assert waiting.ready() == [cited("one")]
