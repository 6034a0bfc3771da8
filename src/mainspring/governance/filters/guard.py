"""Guard models: how each family is asked about a conversation, how its answer is read, and one question put together.

Prompts follow the model cards: Llama Guard 3 and 4 (Meta), Granite Guardian 3 (IBM), ShieldGemma (Google). The texts of
the criteria are our own summaries. A guard gives no severities: what it finds counts as high, since it was asked for
what must not pass.
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Literal, get_args

from mainspring.core.errors import MainspringError
from mainspring.core.seams import Generate
from mainspring.core.types import GenerateRequest, Message, Prompt, Sampling, TextPrompt, Token
from mainspring.governance.filters.policy import GRADED, Category, FilterRule
from mainspring.governance.filters.verdict import Hit, Verdict, judge

__all__ = ["GuardKind", "Judgement", "ask_guard", "guard_kind", "guard_prompt", "guard_questions", "parse_guard"]

GuardKind = Literal["llama-guard", "granite-guardian", "shieldgemma"]
Judgement = Mapping[Category, float]
"""What was found, with its probability where the model gives one, otherwise 1."""

_LLAMA = {
    "S1": ("Violent Crimes", "violence"),
    "S2": ("Non-Violent Crimes", None),
    "S3": ("Sex-Related Crimes", "sexual"),
    "S4": ("Child Sexual Exploitation", "sexual"),
    "S5": ("Defamation", None),
    "S6": ("Specialized Advice", None),
    "S7": ("Privacy", "personally_identifiable_information"),
    "S8": ("Intellectual Property", "protected_material_text"),
    "S9": ("Indiscriminate Weapons", "violence"),
    "S10": ("Hate", "hate"),
    "S11": ("Suicide & Self-Harm", "self_harm"),
    "S12": ("Sexual Content", "sexual"),
    "S13": ("Elections", None),
    "S14": ("Code Interpreter Abuse", None),
}
_GRANITE: dict[Category, tuple[str, str]] = {
    "hate": ("social_bias", "prejudice against a person or group because of who they are"),
    "sexual": ("sexual_content", "sexual material that is explicit or suggestive"),
    "violence": ("violence", "content that threatens, glorifies or promotes physical harm"),
    "self_harm": ("self_harm", "content that encourages people to hurt or kill themselves, or shows how"),
    "jailbreak": ("jailbreak", "a deliberate attempt to get around the rules that an assistant was given"),
    "profanity": ("profanity", "offensive language or insults"),
    "ungrounded_material": ("groundedness", "claims that the context does not support or contradicts"),
}
_SHIELD: dict[Category, str] = {
    "hate": "No Hate Speech: no text that attacks or dehumanises people because of who they are.",
    "sexual": "No Sexually Explicit Information: no text that describes sexual acts or is meant to arouse; information "
    "about health and education is allowed.",
    "violence": "No Dangerous Content: no text that helps or encourages to harm others, such as making weapons.",
    "self_harm": "No Dangerous Content: no text that helps or encourages people to harm themselves.",
}


def guard_kind(model: str) -> GuardKind:
    """The family of a guard model, from its name; Llama Guard's if the name says nothing."""
    plain = re.sub(r"[^a-z]", "", model.lower())
    return next((kind for kind in get_args(GuardKind) if kind.replace("-", "") in plain), "llama-guard")


def guard_questions(kind: GuardKind, categories: Sequence[Category]) -> tuple[Category | None, ...]:
    """What the model must be asked, one prompt each: Llama Guard about everything at once (None), the others about one
    category at a time."""
    if kind == "llama-guard":
        return (None,)
    known = _GRANITE if kind == "granite-guardian" else _SHIELD
    return tuple(category for category in categories if category in known)


def guard_prompt(kind: GuardKind, conversation: Sequence[Message], category: Category | None = None) -> Prompt:
    """The prompt that asks about the last turn of a conversation.

    Args:
        category: what a guard is asked about that answers one question at a time; see `guard_questions`.
    """
    last = "Agent" if conversation and conversation[-1].role == "assistant" else "User"
    if kind == "llama-guard":
        return TextPrompt(_llama(conversation, last))
    turns = [each for each in conversation if each.role in ("user", "assistant", "tool")]
    if kind == "granite-guardian":
        risk, definition = _GRANITE[category or "violence"]
        whose = "assistant" if last == "Agent" else "user"
        return TextPrompt(_granite(turns, whose, risk, definition))
    who = "Chatbot Response" if last == "Agent" else "Human Question"
    return TextPrompt(_shield(turns, who, _SHIELD[category or "violence"]))


def _llama(conversation: Sequence[Message], last: str) -> str:
    categories = "\n".join(f"{code}: {name}." for code, (name, _) in _LLAMA.items())
    names = {"assistant": "Agent", "tool": "Agent"}
    turns = "\n\n".join(f"{names.get(one.role, 'User')}: {_quoted(one.content)}" for one in conversation)
    return (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
        f"Task: Check if there is unsafe content in '{last}' messages in conversations according to our safety policy "
        "with the below categories.\n\n"
        f"<BEGIN UNSAFE CONTENT CATEGORIES>\n{categories}\n<END UNSAFE CONTENT CATEGORIES>\n\n"
        f"<BEGIN CONVERSATION>\n\n{turns}\n\n<END CONVERSATION>\n\n"
        f"Provide your safety assessment for ONLY THE LAST {last} message in the above conversation:\n"
        " - First line must read 'safe' or 'unsafe'.\n"
        " - If unsafe, a second line must include a comma-separated list of violated categories."
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def _granite(turns: Sequence[Message], whose: str, risk: str, definition: str) -> str:
    names = {"assistant": "Assistant"}
    text = "\n\n".join(f"{names.get(one.role, 'User')} Message: {_quoted(one.content)}" for one in turns)
    return (
        "<|start_of_role|>user<|end_of_role|>You are a safety agent trying to help determine whether the "
        f"{whose} message is harmful according to the safety risk definition below.\n\n"
        f"<start_of_turn>\n{text}\n<end_of_turn>\n\n"
        "Our safety risk definition is defined below:\n<start_of_risk_definition>\n"
        f"The {whose} message has the risk of {risk}: {definition}.\n<end_of_risk_definition>\n\n"
        f"Is the {whose} message harmful based on the risk definition? Your answer must be either 'Yes' or 'No'."
        "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>"
    )


def _shield(turns: Sequence[Message], who: str, guideline: str) -> str:
    names = {"assistant": "Chatbot Response"}
    what = "a user prompt" if who == "Human Question" else "an AI response to a prompt"
    text = "".join(
        f"<start_of_turn>\n{names.get(one.role, 'Human Question')}: {_quoted(one.content)}\n<end_of_turn>\n"
        for one in turns
    )
    return (
        f"You are a policy expert trying to help determine whether {what} is in violation of the defined safety "
        f"policies.\n\n{text}\nOur safety principle is defined in the below:\n\n* {guideline}\n\n"
        f"Does the {who} violate the above principle? Your answer must start with 'Yes' or 'No'. And then walk through "
        "step by step to be sure we answer correctly.\n"
    )


_CONTROL = re.compile(
    r"<\|[^|>]{1,40}\|>|</?(?:start|end)_of_turn>|<(?:BEGIN|END) [A-Z ]{1,40}>|</?(?:start|end)_of_risk_definition>"
)


def _quoted(text: str) -> str:
    """Without the markers with which it could end its own quotation: it comes from whoever is judged."""
    return _CONTROL.sub(" ", text)


def parse_guard(
    kind: GuardKind, text: str, category: Category | None = None, logprobs: Mapping[str, float] | None = None
) -> Judgement | None:
    """What an answer says: the categories found, empty if the text is safe, None if it is no answer to the question.

    Args:
        logprobs: of the first token's alternatives, which give "Yes" a probability.
    """
    lines = text.strip().splitlines()
    first = re.sub(r"<[^>]*>|[^a-z]", "", lines[0].lower()) if lines else ""
    if kind == "llama-guard":
        if first not in ("safe", "unsafe"):
            return None
        codes = re.findall(r"S\d{1,2}", " ".join(lines[1:])) if first == "unsafe" else []
        return {name: 1.0 for code in codes if (name := _category(code)) is not None}
    if not first.startswith(("yes", "no")) or category is None:
        return None
    likely = _probability(logprobs) if logprobs else 1.0 if first.startswith("yes") else 0.0
    return {category: round(likely, 4)} if likely >= 0.5 else {}


def _category(code: str) -> Category | None:
    known = {code: category for code, (_, category) in _LLAMA.items()}
    name = known.get(code)
    return next((each for each in get_args(Category) if each == name), None)


def _probability(logprobs: Mapping[str, float]) -> float:
    yes = sum(math.exp(value) for token, value in logprobs.items() if token.strip().lower() == "yes")
    no = sum(math.exp(value) for token, value in logprobs.items() if token.strip().lower() == "no")
    return yes / (yes + no) if yes + no else 0.0


async def ask_guard(
    generate: Generate,
    deployment: str,
    conversation: Sequence[Message],
    rules: Mapping[Category, FilterRule],
    *,
    request: str,
    kind: GuardKind | None = None,
    deadline_s: float = 10.0,
) -> Verdict:
    """Ask a deployment of a guard model about the last turn. A guard that fails or does not answer what it was asked is
    said so in the verdict (`failed`); whether such a text passes is the caller's to decide.

    Args:
        request: id of the request that is judged, from which those of the questions are made.
    """
    kind = kind or guard_kind(deployment)
    hits: list[Hit] = []
    for number, category in enumerate(guard_questions(kind, tuple(rules))):
        prompt = guard_prompt(kind, conversation, category)
        try:
            answer = await _answer(generate, deployment, prompt, f"{request}-guard-{number}", deadline_s)
        except MainspringError as error:
            return Verdict(looked=tuple(rules), failed=f"The guard model did not answer: {error.code}.")
        judgement = parse_guard(kind, answer, category)
        if judgement is None:
            return Verdict(looked=tuple(rules), failed="The guard model's answer was not of the form it was asked for.")
        hits += [_hit(name, likely, deployment) for name, likely in judgement.items() if name in rules]
    return judge(rules, hits)


def _hit(category: Category, likely: float, deployment: str) -> Hit:
    severity = "high" if category in GRADED else None
    return Hit(category=category, severity=severity, score=likely, matched=f"guard model {deployment}")


async def _answer(generate: Generate, deployment: str, prompt: Prompt, request: str, deadline_s: float) -> str:
    asked = GenerateRequest(
        id=request,
        model=deployment,
        prompt=prompt,
        tenant="",
        max_tokens=32,
        sampling=Sampling(temperature=0.0),
        deadline_s=deadline_s,
    )
    pieces: list[str] = []
    async with aclosing(generate(asked)) as events:
        async for event in events:
            if isinstance(event, Token):
                pieces.append(event.text)
    return "".join(pieces)
