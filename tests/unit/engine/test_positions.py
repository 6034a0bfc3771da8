"""Where the messages of a chat stand in its prompt, in tokens that are single bytes."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.types import ChatPrompt, Message
from mainspring.engine.positions import spans_of
from mainspring.models.chat import CHATML, ChatTemplate

TRIMS = CHATML.replace("message['content']", "message['content'] | trim")
SHOUTS = CHATML.replace("message['content']", "message['content'] | upper | reverse")
COUNTS = CHATML.replace("message['content']", "message['content'] | length ~ message['content']")
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\ufdd0\ufdd1\ufdd2"), max_size=12)


class Bytes:
    """A vocabulary of 256 bytes, as far as it is asked; `begins` puts a token before everything."""

    def __init__(self, *, begins: bool = False) -> None:
        self.begins = begins

    def piece(self, token: int) -> bytes:
        return b"<s>" if token == 256 else bytes([token])

    def tokens(self, text: str) -> list[int]:
        return [*([256] if self.begins else ()), *text.encode()]


def read(source: str, texts: Sequence[str], *, begins: bool = False, continues: bool = False) -> list[str] | None:
    """What the spans of each message say."""
    template, vocabulary = ChatTemplate(source), Bytes(begins=begins)
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[at % 2], content=text) for at, text in enumerate(texts))
    prompt = ChatPrompt(messages, continues=continues)
    pieces = template.render(messages, continues=continues)
    tokens = vocabulary.tokens("".join(pieces))
    spans = spans_of(vocabulary, template, prompt, pieces, tokens)  # type: ignore[arg-type]
    return [bytes(tokens[start:end]).decode() for start, end in spans] or None


@given(st.lists(TEXTS, min_size=1, max_size=5), st.booleans())
def test_each_span_is_its_message(texts: list[str], begins: bool) -> None:
    assert read(CHATML, texts, begins=begins) == [text if text.strip() else "" for text in texts]


def test_a_template_that_trims_is_followed() -> None:
    assert read(TRIMS, ["  Hello \n", "\u00e9 "]) == ["Hello", "\u00e9"]


def test_an_answer_that_goes_on_is_the_last() -> None:
    assert read(CHATML, ["Go", "Once upon"], continues=True) == ["Go", "Once upon"]


def test_what_a_template_does_with_texts_is_not_guessed() -> None:
    assert read(SHOUTS, ["Hello"]) is None
    assert read(COUNTS, ["Hello"]) is None
    assert read(CHATML, ["a mark of ours: \ufdd1"]) is None
