"""Text streams: whole characters, and stop strings that never leak."""

from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.types import TokenLogprob
from mainspring.engine.text import TextStream

PIECES = st.lists(st.integers(1, 5))


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


def run(stream: TextStream, pieces: list[bytes]) -> tuple[str, list[TokenLogprob]]:
    shown, logprobs = "", []
    for number, piece in enumerate(pieces):
        token = stream.push(piece, TokenLogprob(number, piece, -1.0))
        if token:
            shown += token.text
            logprobs += token.logprobs
        if stream.stopped:
            return shown, logprobs
    token = stream.finish()
    if token:
        shown += token.text
        logprobs += token.logprobs
    return shown, logprobs


@given(st.text(), PIECES)
def test_any_cut_gives_the_same_text_and_every_token_once(text, sizes):
    pieces = cut(text.encode(), sizes)
    shown, logprobs = run(TextStream(0), pieces)
    assert shown == text
    assert [one.id for one in logprobs] == list(range(len(pieces)))


@given(st.text("ab"), PIECES, st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4))
def test_a_stop_string_is_never_shown_whole_or_in_part(text, sizes, stops):
    shown, logprobs = run(TextStream(0, tuple(stops)), cut(text.encode(), sizes))
    found = [text.find(stop) for stop in stops if stop in text]
    if not found:
        assert shown == text
    else:
        # Tokens come one by one, so the first stop to be complete wins; nothing shown may contain any stop.
        assert text.startswith(shown)
        assert not any(stop in shown for stop in stops)
        assert any(text[len(shown) :].startswith(stop) for stop in stops)
    assert b"".join(one.piece for one in logprobs).decode().startswith(shown)


@given(st.binary(), PIECES)
def test_bytes_that_are_not_text_are_replaced(data, sizes):
    shown, _ = run(TextStream(0), cut(data, sizes))
    assert shown == data.decode("utf-8", "replace")
