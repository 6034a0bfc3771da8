"""From requests to tokens: what an infill asks the model, with its own markers and without."""

import pytest

from mainspring.core.errors import ContextLengthExceeded
from mainspring.core.types import GenerateRequest, InfillPrompt
from mainspring.engine.prepare import Preparer
from mainspring.engine.toy import FIRST_BYTE, ToyBackend
from mainspring.engine.vocabulary import InfillTokens


class Infiller(ToyBackend):
    """A toy with markers: ids beyond its bytes."""

    infill: InfillTokens | None = InfillTokens(1000, 1001, 1002)


class Repository(Infiller):
    infill = InfillTokens(1000, 1001, 1002, 1003, 1004)


def asked(backend, prompt, max_tokens=4):
    """The prompt's tokens, bytes as characters and markers in braces."""
    request = GenerateRequest(id="a", model="toy", prompt=prompt, max_tokens=max_tokens)
    tokens = Preparer(backend).prepare(request, lambda: 0.0)[0].tokens
    return "".join(f"{{{token - 1000}}}" if token >= 1000 else chr(token - FIRST_BYTE) for token in tokens)


GAP = InfillPrompt("before", "after", (("a.py", "one"), ("b.py", "two")))


def test_a_model_with_markers_is_told_both_sides():
    assert asked(Infiller(), GAP) == "a.py\none\n\nb.py\ntwo\n\n{0}before{1}after{2}"
    assert asked(Repository(), GAP) == "{3}project\n{4}a.py\none{4}b.py\ntwo{4}file\n{0}before{1}after{2}"
    assert asked(Repository(), InfillPrompt("before", "after")) == "{0}before{1}after{2}"


def test_a_model_without_markers_continues_the_prefix():
    assert asked(ToyBackend(), GAP) == "a.py\none\n\nb.py\ntwo\n\nbefore"


def test_what_does_not_fit_is_left_out_only_if_asked():
    long = InfillPrompt("p" * 300, "s" * 300, (("a.py", "one"),), fit=True)
    tokens = asked(Infiller(), long)
    assert "one" not in tokens
    assert 64 < len(tokens.replace("{0}", "").replace("{1}", "").replace("{2}", "")) <= 128 - 4
    assert tokens.count("p") > tokens.count("s") > 0
    with pytest.raises(ContextLengthExceeded):
        asked(Infiller(), InfillPrompt("p" * 300, ""))
