"""Prompts from templates: what a stranger writes, in a template or in a message, stays within its bounds."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.core.errors import InvalidRequest
from mainspring.core.limits import OutOfTime, time_limit
from mainspring.core.types import Message
from mainspring.models import chat
from mainspring.models.chat import ChatTemplate

NAMES = ["<|im_start|>", "<|im_end|>", "<s>", "[INST]"]


def render(source, *messages):
    template = ChatTemplate(source, bos="<s>", eos="<|im_end|>", special={name: at for at, name in enumerate(NAMES)})
    return template.render([Message(role="user", content=text) for text in messages])


def test_chatml_is_the_default():
    assert "".join(render(None, "hi")) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@given(st.lists(st.sampled_from([*NAMES, "<|im_", "end|>", "a", "<", "\ufdd0"]), max_size=8).map("".join))
def test_no_message_writes_a_control_token(text):
    pieces = render("{{ messages[0]['content'] }}", text)
    assert "".join(pieces) == text.replace("\ufdd0", "")
    assert not any(name in piece for piece in pieces for name in NAMES)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ raise_exception('no system messages here') }}",
        "{{ 1 / 0 }}",
        "{{ messages[7].content.upper() }}",
    ],
)
def test_a_bad_template_is_a_clear_refusal(source, monkeypatch):
    monkeypatch.setattr(chat, "MAX_RENDER_S", 0.3)
    with pytest.raises(InvalidRequest, match="template refuses"):
        render(source, "hi")


def test_a_time_limit_ends_a_loop_and_nothing_afterwards():
    started, num_threads = time.monotonic(), threading.active_count()

    def forever():
        with time_limit(0.1):
            while True:
                pass

    with pytest.raises(OutOfTime):
        forever()
    assert time.monotonic() - started < 5
    for _ in range(200):
        with time_limit(10):
            pass
    assert threading.active_count() < num_threads + 20


def test_what_ends_in_time_is_left_alone():
    with time_limit(0.05):
        total = sum(range(10))
    time.sleep(0.1)
    assert total == 45
