"""Batches: every token once an epoch, none next to a stranger's, and the same again from any step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.train.packing import NO_LABEL, Packer, Sample, choose_length, order


class Items:
    """Every token of every item is another number, so that a token in a wrong place shows."""

    def __init__(self, sizes):
        self.samples, at = [], 1
        for item in sizes:
            self.samples.append([])
            for size in item:
                ids = np.arange(at, at + size, dtype=np.int32)
                weights = np.where(ids % 3 > 0, 1, 0).astype(np.float32)
                self.samples[-1].append(Sample(ids, weights))
                at += size
        self.lengths = np.array([sum(item) for item in sizes], np.int64)
        self.reads = 0

    def item(self, number):
        self.reads += 1
        return self.samples[number]


singles = st.lists(st.tuples(st.integers(1, 32)), min_size=1, max_size=40)
pairs = st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), min_size=1, max_size=40)


@st.composite
def packers(draw):
    items = Items(draw(st.one_of(singles, pairs)))
    packer = Packer(
        items,
        length=32,
        rows=draw(st.integers(1, 3)),
        batch_size=draw(st.integers(1, 50)),
        seed=draw(st.integers(0, 9)),
    )
    return items, packer


@given(packers(), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_every_segment_is_there_once_an_epoch_and_whole(made, epoch):
    items, packer = made
    seen = []
    first = epoch * packer.steps_per_epoch
    for batch in packer.batches(first, first + packer.steps_per_epoch):
        assert batch.epoch == epoch
        assert len(batch.items) <= packer.batch_size
        there = []
        for micro in batch.micro:
            assert micro.ids.shape == (packer.rows, 32)
            for item, part, row, segment in micro.parts.tolist():
                where = np.flatnonzero(micro.segments[row] == segment)
                sample = items.samples[item][part]
                assert where.tolist() == list(range(where[0], where[0] + len(sample.ids))), "in one piece"
                assert micro.ids[row, where].tolist() == sample.ids.tolist()
                assert micro.position_ids[row, where].tolist() == list(range(len(sample.ids)))
                wanted = np.where(sample.weights[1:] > 0, sample.ids[1:], NO_LABEL).tolist()
                assert micro.labels[row, where].tolist() == [*wanted, NO_LABEL]
                assert micro.weights[row, where].tolist() == [*sample.weights[1:], 0]
                there.append((item, part))
            told = {(row, segment) for _, _, row, segment in micro.parts.tolist()}
            rows, columns = np.nonzero(micro.segments)
            assert told == set(zip(rows.tolist(), micro.segments[rows, columns].tolist(), strict=True))
            empty = micro.segments == 0
            assert not micro.ids[empty].any()
            assert (micro.labels[empty] == NO_LABEL).all()
            assert not micro.weights[empty].any()
        assert {item for item, _ in there} == set(batch.items.tolist())
        total = sum(float(one.weights[1:].sum()) for item in batch.items for one in items.samples[item])
        assert batch.weight == pytest.approx(total)
        assert batch.num_tokens == sum(items.lengths[batch.items])
        seen += there
    assert sorted(seen) == [(item, part) for item, parts in enumerate(items.samples) for part in range(len(parts))]


@given(packers(), st.integers(0, 30))
@settings(max_examples=30, deadline=None)
def test_a_step_is_the_same_whatever_came_before(made, step):
    items, packer = made
    fresh = Packer(items, length=32, rows=packer.rows, batch_size=packer.batch_size, seed=packer._seed)
    list(packer.batches(0, step))
    one, other = packer.batch(step), fresh.batch(step)
    assert one.items.tolist() == other.items.tolist()
    for a, b in zip(one.micro, other.micro, strict=True):
        for name in ("ids", "position_ids", "segments", "labels", "weights", "parts"):
            assert np.array_equal(getattr(a, name), getattr(b, name))


@given(packers())
@settings(max_examples=30, deadline=None)
def test_no_token_sees_a_stranger(made):
    """The mask that segments stand for, against the items themselves."""
    items, packer = made
    owner = {}
    for number, item in enumerate(items.samples):
        for part, sample in enumerate(item):
            owner |= dict.fromkeys(sample.ids.tolist(), (number, part))
    for micro in packer.batch(0).micro:
        for row in range(packer.rows):
            segments, ids = micro.segments[row], micro.ids[row]
            sees = (segments[:, None] == segments) & (segments > 0) & (np.arange(32)[:, None] >= np.arange(32))
            for at in np.flatnonzero(segments):
                seen = ids[sees[at]].tolist()
                assert {owner[token] for token in seen} == {owner[ids[at]]}
                assert len(seen) == micro.position_ids[row, at] + 1


def test_preferences_stand_side_by_side():
    packer = Packer(Items([(3, 4), (5, 6), (2, 2)]), length=32, rows=2, batch_size=3)
    (micro,) = packer.batch(0).micro
    both = micro.parts.reshape(-1, 2, 4)
    assert both[:, :, 0].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert both[:, :, 1].tolist() == [[0, 1]] * 3
    assert (both[:, 0, 2] == both[:, 1, 2]).all(), "in one row"


def test_rows_are_filled():
    packer = Packer(Items([(20,), (12,), (16,), (16,), (30,), (2,)]), length=32, rows=1, batch_size=6)
    assert packer.packing().efficiency == 1
    assert packer.packing().micro_batches == 3
    assert len(packer.batch(0).micro) == 3


def test_how_full_rows_are_is_told_without_reading():
    items = Items([(5,)] * 10)
    assert Packer(items, length=32, rows=2, batch_size=5).packing().efficiency == pytest.approx(50 / 128)
    assert items.reads == 0


def test_the_steps_of_an_epoch_are_of_nearly_one_size():
    packer = Packer(Items([(4,)] * 10), length=32, rows=1, batch_size=4)
    assert [len(batch.items) for batch in packer.batches(0, 6)] == [3, 3, 4] * 2
    assert Packer(Items([(4,)] * 3), length=32, rows=1, batch_size=100).steps_per_epoch == 1


def test_an_order_is_a_permutation_and_never_changes():
    assert sorted(order(1000, 3, 5).tolist()) == list(range(1000))
    assert order(12, 0, 0).tolist() == ORDER
    assert order(12, 0, 1).tolist() != ORDER
    assert order(12, 1, 0).tolist() != ORDER
    assert order(12, -1, 0).tolist() == order(12, 2**64 - 1, 0).tolist()


ORDER = [0, 2, 11, 9, 1, 8, 5, 4, 3, 10, 6, 7]


def test_validation_is_read_as_it_is():
    packer = Packer(Items([(4,)] * 7), length=32, rows=1, batch_size=3, shuffle=False)
    assert np.concatenate([batch.items for batch in packer.batches(0, 3)]).tolist() == list(range(7))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidRequest, match="33 tokens does not fit"):
        Packer(Items([(33,)]), length=32, rows=1, batch_size=1)


@pytest.mark.parametrize(
    ("longest", "most", "length", "why"),
    [
        (5, 2048, 256, "shorter rows"),
        (257, 2048, 320, "has 257 tokens"),
        (320, 2048, 320, "has 320 tokens"),
        (5000, 2048, 2048, "1 of 2 examples are longer"),
        (900, 900, 900, "has 900 tokens"),
    ],
)
def test_the_length_of_rows(longest, most, length, why):
    value, reason = choose_length(np.array([3, longest]), most)
    assert value == length
    assert why in reason
