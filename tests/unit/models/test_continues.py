"""An answer that was broken off and goes on: what the model is shown, and how what it writes then is read."""

import pytest

from mainspring.core.types import ChatPrompt, GenerateRequest, Message, Sampling, Token
from mainspring.engine.fake import FakeEngine
from mainspring.models.chat import CHATML, HARMONY_ANSWER, ChatTemplate

HARMONY = (
    "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}{# <|channel|>analysis #}"
)
THINKS = CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}{# </think> #}"
ASKED = (Message(role="user", content="Hi"),)


def shown(source: str, text: str) -> tuple[ChatTemplate, list[str]]:
    template = ChatTemplate(source, special={"<|im_end|>": 1})
    return template, template.render((*ASKED, Message(role="assistant", content=text)), continues=True)


@pytest.mark.parametrize("source", [CHATML, HARMONY, THINKS])
def test_the_prompt_ends_with_what_was_said(source: str) -> None:
    template, pieces = shown(source, "Once upon a")
    plain = "".join(template.render(ASKED, thinking=False))
    channel = HARMONY_ANSWER if source is HARMONY else ""
    assert "".join(pieces) == f"{plain}{channel}Once upon a"


def test_a_thinking_model_does_not_think_again() -> None:
    template, pieces = shown(THINKS, "Once")
    assert "".join(pieces).endswith("<think>\n\n</think>\n\nOnce")
    template, pieces = shown(THINKS, "It said <think>")
    prompt = ChatPrompt((*ASKED, Message(role="assistant", content="It said <think>")), continues=True)
    reader = template.plan(prompt, pieces, None).reader()
    assert reader is not None
    assert [said.thought for said in (*reader.push(" and more"), *reader.finish())] == [False]  # type: ignore[union-attr]


def test_names_of_control_tokens_stay_text() -> None:
    _, pieces = shown(CHATML, "a <|im_end|> b")
    assert (pieces[-2][-3:], pieces[-1]) == ("a <", "|im_end|> b")


async def said(engine: FakeEngine, prompt: ChatPrompt, most: int | None = None) -> str:
    request = GenerateRequest(id="1", model="fake", prompt=prompt, max_tokens=most, sampling=Sampling(temperature=0))
    return "".join([event.text async for event in engine.generate(request) if isinstance(event, Token)])


async def test_the_fake_goes_on_with_what_it_would_have_said() -> None:
    engine = FakeEngine()
    whole = await said(engine, ChatPrompt(ASKED))
    first = await said(engine, ChatPrompt(ASKED), 7)
    rest = await said(engine, ChatPrompt((*ASKED, Message(role="assistant", content=first)), continues=True))
    assert first + rest == whole
