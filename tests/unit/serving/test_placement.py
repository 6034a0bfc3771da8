"""Which replica gets a request."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.types import (
    Adapter,
    ChatPrompt,
    GenerateRequest,
    InfillPrompt,
    Message,
    TextPrompt,
    TokenPrompt,
)
from mainspring.serving.placement import SKEW, choose, prefix_of


@dataclass
class One:
    name: str
    num_here: int = 0


LOADS = st.lists(st.integers(0, 20), min_size=1, max_size=8)


@given(loads=LOADS, key=st.binary(max_size=8))
def test_nobody_gets_a_request_who_has_much_more_than_another(loads, key):
    some = [One(f"m#{at}", load) for at, load in enumerate(loads)]
    chosen = choose(some, key)
    assert chosen.num_here <= min(loads) + (SKEW if key else 0)


@given(loads=LOADS, key=st.binary(min_size=1, max_size=8), data=st.data())
def test_a_beginning_stays_where_it_was_when_others_go(loads, key, data):
    some = [One(f"m#{at}") for at in range(len(loads))]
    home = choose(some, key)
    left = [one for one in some if one is home or data.draw(st.booleans())]
    assert choose(left, key) is home


def test_beginnings_are_spread():
    some = [One("m"), One("m#2"), One("m#3")]
    counts = Counter(choose(some, b"%d" % at).name for at in range(300))
    assert min(counts.values()) > 60
    assert len(counts) == 3


def ask(prompt, adapter=None):
    return prefix_of(GenerateRequest(id="r", model="m", prompt=prompt, adapter=adapter))


def chat(*turns):
    roles = ("system", "user", "assistant", "user", "assistant")
    return ChatPrompt(tuple(Message(role=role, content=text) for role, text in zip(roles, turns, strict=False)))


def test_the_turns_of_a_conversation_have_one_key_and_other_conversations_others():
    assert ask(chat("be nice", "hello")) == ask(chat("be nice", "hello", "hi", "how are you?"))
    assert ask(chat("be nice", "hello")) != ask(chat("be nice", "goodbye"))
    assert ask(chat("x" * 10_000, "hello")) != ask(chat("x" * 10_000, "goodbye"))
    assert len(ask(chat("x" * 10**6, "y" * 10**6))) < 5000


def test_texts_that_begin_alike_have_one_key():
    document = "a long document " * 500
    assert ask(TextPrompt(document + "first?")) == ask(TextPrompt(document + "second?"))
    assert ask(TextPrompt("a")) != ask(TextPrompt("b"))
    assert ask(TextPrompt("a"), Adapter("x@1", "/x")) != ask(TextPrompt("a"))
    assert ask(TokenPrompt((1, 2))) != ask(TokenPrompt((1, 3)))
    assert ask(InfillPrompt("a", "b")) == ask(InfillPrompt("a", "c"))
    assert ask(TextPrompt("\ud800"))
