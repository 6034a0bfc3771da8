"""The prefix tree against a model that stores every holder's tokens in a list."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mainspring.engine.prefix import PrefixTree

TOKENS = st.lists(st.integers(0, 2), max_size=12)  # three tokens: prefixes collide all the time
HOLDERS = st.integers(0, 5)
SPACES = st.sampled_from([None, "a"])


class TreeMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.tree = PrefixTree()
        self.model: dict[int, list[int]] = {}
        self.spaces: dict[int, str | None] = {}

    @rule(holder=HOLDERS, tokens=TOKENS, space=SPACES)
    def insert(self, holder, tokens, space):
        if holder not in self.model:
            self.tree.insert(holder, tokens, space)
            self.model[holder] = list(tokens)
            self.spaces[holder] = space

    @rule(holder=HOLDERS, tokens=TOKENS)
    def extend(self, holder, tokens):
        if holder in self.model:
            self.tree.extend(holder, tokens)
            self.model[holder] += tokens

    @rule(holder=HOLDERS, share=st.floats(0, 1))
    def truncate(self, holder, share):
        if holder in self.model:
            length = round(len(self.model[holder]) * share)
            self.tree.truncate(holder, length)
            del self.model[holder][length:]

    @rule(holder=HOLDERS)
    def remove(self, holder):
        if holder in self.model:
            self.tree.remove(holder)
            del self.model[holder]

    @rule(tokens=TOKENS, space=SPACES)
    def match(self, tokens, space):
        found: dict[int, int] = {}
        for depth, holders in self.tree.match(tokens, space):
            for holder in holders:
                found[holder] = max(found.get(holder, 0), depth)
        assert all(self.spaces[holder] == space for holder in found)
        for holder, path in self.model.items():
            if self.spaces[holder] != space:
                continue
            common = next((i for i, (a, b) in enumerate(zip(path, tokens, strict=False)) if a != b), None)
            common = min(len(path), len(tokens)) if common is None else common
            assert found.get(holder, 0) == common

    @invariant()
    def holds(self):
        self.tree.check_integrity()
        for holder, path in self.model.items():
            assert self.tree.path(holder) == path
            assert self.tree.length(holder) == len(path)
            assert self.tree.space(holder) == self.spaces[holder]


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_holder_cannot_be_inserted_twice():
    tree = PrefixTree()
    tree.insert(1, [1, 2])
    with pytest.raises(AssertionError):
        tree.insert(1, [1])
